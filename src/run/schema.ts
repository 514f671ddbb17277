/** Version of the tables below; an older database is brought to it, a newer one refused. */
export const schemaVersion = 9;

/** `team` in ASCII, in the file's header: tells a run database from any other SQLite file. */
export const applicationId = 0x7465616d;

/** The tables in the order in which rows may refer to one another. docs/run-directory.md explains each column. */
export const tables = [
  'run',
  'actions',
  'trajectories',
  'feedback',
  'outcomes',
  'metrics',
  'steps',
  'evaluations',
  'tasks',
  'reference_logprobs',
  'second_feedback',
  'shown_feedback',
  'coach_calls',
  'second_coaches',
  'discussion_answers',
  'tree_nodes',
] as const;

export type TableName = (typeof tables)[number];

/** What scoring and crediting a finished run again needs; a run of version 1 has none of it. */
const rescoreTables = `
CREATE TABLE tasks (
  id TEXT PRIMARY KEY,
  prompt TEXT NOT NULL,
  answer TEXT,
  tags TEXT NOT NULL
) STRICT;

CREATE TABLE reference_logprobs (
  action_id TEXT PRIMARY KEY REFERENCES actions (id),
  logprobs BLOB NOT NULL
) STRICT;

CREATE TABLE second_feedback (
  coach TEXT NOT NULL,
  action_id TEXT NOT NULL REFERENCES actions (id),
  kind TEXT NOT NULL CHECK (kind IN ('scored', 'unscored')),
  score REAL CHECK (score BETWEEN 0 AND 10),
  reason TEXT,
  blame TEXT CHECK (blame IN ('none', 'self', 'upstream', 'tool', 'task')),
  blamed_agent TEXT,
  cause TEXT,
  PRIMARY KEY (coach, action_id),
  CHECK ((kind = 'scored') = (score IS NOT NULL)),
  CHECK ((kind = 'unscored') = (cause IS NOT NULL))
) STRICT;
`;

/** What a coach was asked, what that cost, what plays were shown of it, and what it said of answers it knew. */
const coachTables = `
CREATE TABLE shown_feedback (
  action_id TEXT PRIMARY KEY REFERENCES actions (id),
  words TEXT
) STRICT;

CREATE TABLE coach_calls (
  id INTEGER PRIMARY KEY,
  action_id TEXT REFERENCES actions (id),
  model TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'answered', 'failed', 'cached')),
  input_tokens INTEGER,
  output_tokens INTEGER,
  usd REAL,
  usd_bound REAL
) STRICT;
CREATE INDEX coach_calls_of_action ON coach_calls (action_id);

ALTER TABLE feedback ADD COLUMN answer_correct INTEGER CHECK (answer_correct IN (0, 1));
ALTER TABLE second_feedback ADD COLUMN answer_correct INTEGER CHECK (answer_correct IN (0, 1));
`;

/** Who gave second verdicts, asked how; and which calls were theirs. */
const secondCoachTables = `
ALTER TABLE coach_calls ADD COLUMN label TEXT;

CREATE TABLE second_coaches (
  label TEXT PRIMARY KEY,
  coach TEXT NOT NULL,
  coaching TEXT NOT NULL
) STRICT;
`;

/** What agents of discussions answered at each turn, and what that earned, part by part. */
const discussionTables = `
CREATE TABLE discussion_answers (
  action_id TEXT PRIMARY KEY REFERENCES actions (id),
  turn INTEGER NOT NULL,
  extracted TEXT,
  correct INTEGER CHECK (correct IN (0, 1)),
  verdict REAL CHECK (verdict BETWEEN 0 AND 1),
  discussion REAL,
  revision REAL,
  influence REAL
) STRICT;
`;

/** What a grader measures besides right and wrong. */
const measureColumns = `
ALTER TABLE outcomes ADD COLUMN measures TEXT;
ALTER TABLE evaluations ADD COLUMN measures TEXT;
`;

/** What the actions of trees of plays were worth. */
const treeTables = `
CREATE TABLE tree_nodes (
  action_id TEXT PRIMARY KEY REFERENCES actions (id),
  value REAL NOT NULL CHECK (value BETWEEN 0 AND 1),
  leaves INTEGER NOT NULL,
  positive INTEGER NOT NULL CHECK (positive IN (0, 1)),
  dropped TEXT,
  preferred INTEGER NOT NULL,
  rejected INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS actions_of_trajectory ON actions (trajectory);
`;

/** What coaches are shown of tasks with files. */
const taskFileColumns = `
ALTER TABLE tasks ADD COLUMN files TEXT;
ALTER TABLE tasks ADD COLUMN graded_table TEXT;
`;

/** From which version → what makes it the next one. */
export const migrations: Readonly<Record<number, string>> = {
  1: rescoreTables,
  2: 'ALTER TABLE actions ADD COLUMN behaviour_logprobs BLOB',
  3: coachTables,
  4: secondCoachTables,
  5: discussionTables,
  6: measureColumns,
  7: treeTables,
  8: taskFileColumns,
};

export const schemaSql = `
CREATE TABLE run (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE actions (
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  trajectory TEXT NOT NULL,
  parent TEXT,
  agent TEXT NOT NULL,
  role TEXT NOT NULL,
  policy TEXT NOT NULL,
  policy_version INTEGER NOT NULL,
  turn INTEGER NOT NULL,
  seed INTEGER NOT NULL,
  observation BLOB NOT NULL,
  observation_text TEXT NOT NULL,
  tokens BLOB NOT NULL,
  logprobs BLOB NOT NULL,
  text TEXT NOT NULL,
  tool_calls TEXT NOT NULL,
  tool_results TEXT NOT NULL,
  stop TEXT NOT NULL CHECK (stop IN ('stop', 'length')),
  behaviour_logprobs BLOB
) STRICT;
CREATE INDEX actions_of_scope ON actions (scope);

CREATE TABLE trajectories (
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  sample INTEGER NOT NULL,
  actions TEXT NOT NULL,
  answer TEXT,
  failure_boundary TEXT,
  failure_message TEXT
) STRICT;
CREATE INDEX trajectories_of_scope ON trajectories (scope);

CREATE TABLE feedback (
  action_id TEXT PRIMARY KEY REFERENCES actions (id),
  kind TEXT NOT NULL CHECK (kind IN ('scored', 'unscored')),
  score REAL CHECK (score BETWEEN 0 AND 10),
  reason TEXT,
  blame TEXT CHECK (blame IN ('none', 'self', 'upstream', 'tool', 'task')),
  blamed_agent TEXT,
  cause TEXT,
  CHECK ((kind = 'scored') = (score IS NOT NULL)),
  CHECK ((kind = 'unscored') = (cause IS NOT NULL))
) STRICT;

CREATE TABLE outcomes (
  trajectory_id TEXT PRIMARY KEY REFERENCES trajectories (id),
  correct INTEGER NOT NULL CHECK (correct IN (0, 1)),
  extracted TEXT
) STRICT;

CREATE TABLE metrics (
  step INTEGER NOT NULL,
  name TEXT NOT NULL,
  value REAL NOT NULL,
  PRIMARY KEY (step, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE steps (
  step INTEGER PRIMARY KEY,
  checkpoint TEXT NOT NULL,
  completed_at TEXT NOT NULL
) STRICT;

CREATE TABLE evaluations (
  name TEXT NOT NULL,
  task_id TEXT NOT NULL,
  sample INTEGER NOT NULL,
  correct INTEGER NOT NULL CHECK (correct IN (0, 1)),
  extracted TEXT,
  trajectory_id TEXT NOT NULL REFERENCES trajectories (id),
  PRIMARY KEY (name, task_id, sample)
) STRICT;
${rescoreTables}${coachTables}${secondCoachTables}${discussionTables}${measureColumns}${treeTables}${taskFileColumns}`;

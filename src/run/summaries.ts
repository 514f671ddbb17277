import type { AuditedAction } from './audit.ts';
import type { Database } from './database.ts';
import { text } from './rows.ts';

/** What one agent did in one scope (a training step as text, or a label). */
export type AgentTotals = {
  readonly scope: string;
  readonly agent: string;
  readonly actions: number;
  /** Sampled tokens of all its actions. */
  readonly tokens: number;
  readonly scored: number;
  readonly unscored: number;
  /** Sum of the coach's points over scored actions. */
  readonly points: number;
  readonly toolCalls: number;
  readonly toolSuccesses: number;
};

/** Something that went wrong, and how often. */
export type CountedCause = {
  readonly kind: 'play' | 'coach' | 'tool';
  /** Where: a boundary for a play, `coach` for the coach, a tool's name for a tool. */
  readonly where: string;
  readonly cause: string;
  readonly count: number;
};

const agentTotalsSql = `
SELECT a.scope, a.agent, count(*) AS actions,
  sum(length(a.tokens) / 4) AS tokens,
  sum(f.kind IS 'scored') AS scored,
  sum(f.kind IS 'unscored') AS unscored,
  total(f.score) AS points,
  sum(json_array_length(a.tool_results)) AS toolCalls,
  sum((SELECT count(*) FROM json_each(a.tool_results) WHERE value ->> 'status' = 'ok')) AS toolSuccesses
FROM actions a LEFT JOIN feedback f ON f.action_id = a.id
GROUP BY a.scope, a.agent ORDER BY min(a.rowid)`;

export function agentTotals(database: Database): AgentTotals[] {
  return database.all(agentTotalsSql).map((row) => ({
    scope: text(row.scope),
    agent: text(row.agent),
    actions: Number(row.actions),
    tokens: Number(row.tokens),
    scored: Number(row.scored),
    unscored: Number(row.unscored),
    points: Number(row.points),
    toolCalls: Number(row.toolCalls),
    toolSuccesses: Number(row.toolSuccesses),
  }));
}

const countedCausesSql = `
SELECT 'play' AS kind, failure_boundary AS place, failure_message AS cause, count(*) AS count
FROM trajectories WHERE failure_boundary IS NOT NULL GROUP BY failure_boundary, failure_message
UNION ALL
SELECT 'coach', 'coach', cause, count(*) FROM feedback WHERE kind = 'unscored' GROUP BY cause
UNION ALL
SELECT 'tool', value ->> 'tool', value ->> 'status', count(*)
FROM actions, json_each(actions.tool_results) WHERE value ->> 'status' <> 'ok' GROUP BY 2, 3
ORDER BY count DESC`;

export function countedCauses(database: Database): CountedCause[] {
  return database.all(countedCausesSql).map((row) => ({
    kind: text(row.kind) as CountedCause['kind'],
    where: text(row.place),
    cause: text(row.cause),
    count: Number(row.count),
  }));
}

const auditedActionsSql = `
SELECT a.scope, a.agent, t.task_id, k.tags, length(a.tokens) / 4 AS tokens, f.score, o.correct
FROM actions a
JOIN feedback f ON f.action_id = a.id AND f.kind = 'scored'
JOIN trajectories t ON t.id = a.trajectory
LEFT JOIN outcomes o ON o.trajectory_id = t.id
LEFT JOIN tasks k ON k.id = t.task_id
WHERE a.scope NOT GLOB '*[^0-9]*' ORDER BY a.rowid`;

/** Scored actions of training steps, in the order in which they were recorded. */
export function auditedActions(database: Database): AuditedAction[] {
  return database.all(auditedActionsSql).map((row) => ({
    step: Number(row.scope),
    agent: text(row.agent),
    task: text(row.task_id),
    tags: row.tags === null ? [] : (JSON.parse(text(row.tags)) as string[]),
    tokens: Number(row.tokens),
    score: Number(row.score),
    ...(row.correct === null ? {} : { correct: row.correct === 1 }),
  }));
}

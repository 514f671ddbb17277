import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { expect, test, vi } from 'vitest';
import { mathchatTeam } from '../../teams/mathchat-team.ts';
import { defineTeam } from '../rollout/team.ts';
import { configAsJson, loadConfig, resolveConfig } from './load-config.ts';
import { mappaMathchat } from './presets.ts';
import type { RunInput } from './schema.ts';

const team = defineTeam({
  name: 'pair',
  agents: { first: { role: 'First', maxTokens: 8 } },
  play: async () => 'done',
});
const minimal: RunInput = {
  name: 'test',
  team,
  model: { path: 'model' },
  tasks: { train: 'tasks.json' },
  coach: 'google/gemini-2.5-flash',
};
const options = { directory: '/project', where: 'teamtune.config.ts' };

test('defaults fill what a config leaves out, and paths count from the config’s folder', () => {
  const config = resolveConfig(minimal, options);
  expect(config.credit.klCoefficient).toBe(0.01);
  expect(config.model.path).toBe('/project/model');
});

test('an override wins, is typed as JSON where it is JSON, and does not touch the user’s object', () => {
  const overrides = ['update.learningRate=1e-6', 'credit.source=outcome', 'training.steps=3'];
  const config = resolveConfig(minimal, { ...options, overrides });
  expect(config.update.learningRate).toBe(1e-6);
  expect(config.credit.source).toBe('outcome');
  expect(config.training.steps).toBe(3);
  expect(minimal.training).toBeUndefined();
});

test('plays ahead of training are refused where an interrupted run could not be gone on with as it was', () => {
  const stale = (...overrides: string[]) =>
    resolveConfig(minimal, {
      ...options,
      overrides: ['rollout.maxStalenessSteps=2', 'training.keepCheckpoints=4', ...overrides],
    });
  expect(stale().rollout.maxStalenessSteps).toBe(2);
  expect(() => stale('training.keepCheckpoints=3')).toThrow(
    'a resumed run may need the last 4 checkpoints; set training.keepCheckpoints to as many, it is 3',
  );
  expect(() => stale('method=malt')).toThrow('malt grows its trees with the team as it is');
  const budget = 'coaching.budget.calls=9';
  expect(stale(budget).coaching.budget.calls).toBe(9);
  expect(() => stale(budget, 'coaching.budget.whenSpent=outcome')).toThrow(
    'set coaching.budget.whenSpent=pause',
  );
});

test('MALT is refused for a team that rests on the coach’s verdicts, and for a coach of which there is too much asked', () => {
  const grown = (asksCoach: boolean, ...overrides: string[]) =>
    resolveConfig(
      { ...minimal, team: { ...team, asksCoach } },
      { ...options, overrides: ['method=malt', ...overrides] },
    );
  expect(grown(false).method.kind).toBe('malt');
  expect(() => grown(true)).toThrow('and team pair rests on them (asksCoach)');
  const play = 'coaching.showOutcome=play';
  expect(grown(false, play).coaching.showOutcome).toBe('play');
  expect(() => grown(false, play, 'method.judge=coach')).toThrow(
    'coaching.showOutcome: expected true or false',
  );
  const budget = ['coaching.budget.calls=9', 'coaching.budget.whenSpent=outcome'];
  expect(grown(false, ...budget).coaching.budget.calls).toBe(9);
  expect(() => grown(false, ...budget, 'method.judge=coach')).toThrow(
    'coaching.budget.whenSpent: expected pause',
  );
});

test('an unknown key is refused with the nearest known one', () => {
  const overrides = ['update.learningrate=1'];
  expect(() => resolveConfig(minimal, { ...options, overrides })).toThrow(
    'unknown key update.learningrate (did you mean update.learningRate?)',
  );
});

test('a wrong value is refused with its key, what was expected and what came', () => {
  const overrides = ['rollout.tasksPerStep=-1'];
  expect(() => resolveConfig(minimal, { ...options, overrides })).toThrow(
    /rollout\.tasksPerStep: .*>0.*, got -1/,
  );
});

test('of a choice between kinds of values the expected ones are said', () => {
  expect(() =>
    resolveConfig(minimal, { ...options, overrides: ['coaching.showOutcome=plays'] }),
  ).toThrow('coaching.showOutcome: expected true, false or play, got "plays"');
});

test('a choice among methods says which word came, and one among services what is wrong inside', () => {
  const refused = (override: string) => () =>
    resolveConfig(minimal, { ...options, overrides: [override] });
  expect(refused('method=ppo')).toThrow('method.kind: expected mappa, maporl or malt, got "ppo"');
  expect(refused('service={"kind":"tinker","url":"http://127.0.0.1:1","server":"tuft"}')).toThrow(
    /service: expected "local".*, got an object \(service\.baseModel: .*, but it is missing\)/,
  );
  expect(refused('method.select.threshold=0.5')).toThrow(
    'unknown key method.select (another kind of method has it)',
  );
  const model = '"url":"http://127.0.0.1:1","server":"tuft","baseModel":"m"';
  expect(refused(`service={"kind":"tinker","adams":1,${model}}`)).toThrow(
    'unknown key service.adams (did you mean service.adam?)',
  );
});

test('a folder is no config, and where npm was called elsewhere the file there is named', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'teamtune-config-'));
  await expect(loadConfig(folder)).rejects.toThrow(
    `expected a config file, and ${folder} is a folder`,
  );
  await writeFile(join(folder, 'near.config.ts'), '');
  vi.stubEnv('INIT_CWD', folder);
  const meant = relative(process.cwd(), join(folder, 'near.config.ts'));
  await expect(loadConfig('near.config.ts')).rejects.toThrow(`did you mean ${meant}?`);
  await expect(loadConfig('far.config.ts')).rejects.toThrow(
    /pass the path of a teamtune.config.ts$/,
  );
  vi.unstubAllEnvs();
});

test('an override without a value is refused', () => {
  expect(() => resolveConfig(minimal, { ...options, overrides: ['seed'] })).toThrow(
    'expected key.path=value',
  );
});

test('the stored config is plain JSON', () => {
  const json = JSON.parse(JSON.stringify(configAsJson(resolveConfig(minimal, options))));
  expect(json.team).toEqual({ name: 'pair', agents: team.agents, order: Object.keys(team.agents) });
  expect(json.coach).toBe('google/gemini-2.5-flash');
});

test.each([
  [
    { team: { ...team, agents: { first: { role: 'First', maxTokens: -3 } } } },
    /team\.agents\.first\.maxTokens: .*>0, got -3/,
  ],
  [
    { team: { ...team, agents: { first: { role: 'F', maxToken: 3, maxTokens: 1 } } } },
    /team\.agents\.first: .*maxToken/,
  ],
  [{ tasks: { train: [{ id: 'a' }] } }, /tasks\.train\.0\.prompt: /],
  [
    {
      tasks: {
        train: [
          { id: 'a', prompt: 'x' },
          { id: 'a', prompt: 'y' },
        ],
      },
    },
    'two tasks have the id a',
  ],
  [{ tasks: { train: [] } }, 'tasks.train: expected the path of a task file, or an array of tasks'],
  [{ team: { name: 'nobody' } }, 'team: expected a team made by defineTeam'],
])('teams and tasks given in code are checked as well: %j', (change, sentence) => {
  expect(() => resolveConfig({ ...minimal, ...change } as RunInput, options)).toThrow(sentence);
});

test('a method is named by its word, a method that is none is refused, and a coach is wanted where it asks one', () => {
  const { coach: _, ...uncoached } = minimal;
  const named = resolveConfig({ ...minimal, method: 'mappa' }, options);
  expect(named.method).toEqual({ kind: 'mappa' });
  const withKey = ['method.kinds=3'];
  expect(() => resolveConfig(minimal, { ...options, overrides: withKey })).toThrow(/method/);
  const mapa = ['method=mapa'];
  expect(() => resolveConfig(minimal, { ...options, overrides: mapa })).toThrow(
    /method\.kind: expected mappa/,
  );
  expect(() => resolveConfig(uncoached, options)).toThrow(/coach: expected .*but it is missing/);
  const overrides = ['credit.source=outcome'];
  expect(resolveConfig(uncoached, { ...options, overrides }).coach).toBe('none');
});

test('several held-out sets by name: each path is resolved, and one can be replaced by an override', () => {
  const input = { ...minimal, tasks: { train: 'a.json', heldOut: { amc: 'amc.json', own: 'x' } } };
  const overrides = ['tasks.heldOut.own=/elsewhere/own.json'];
  const { tasks } = resolveConfig(input, { ...options, overrides });
  const heldOut = { amc: '/project/amc.json', own: '/elsewhere/own.json' };
  expect(tasks.heldOut).toEqual(heldOut);
  expect(input.tasks.heldOut.amc).toBe('amc.json');
  const stored = configAsJson(resolveConfig(input, { ...options, overrides }));
  expect(stored).toMatchObject({ tasks: { heldOut } });
  const wrong = { ...minimal, tasks: { train: 'a.json', heldOut: { amc: 3, 'a@b': 'x' } } };
  expect(() => resolveConfig(wrong as unknown as RunInput, options)).toThrow(
    /tasks\.heldOut\.amc: expected the path.*tasks\.heldOut\.a@b: expected letters/,
  );
});

const alone = defineTeam({
  name: 'alone',
  agents: { single: { role: 'Single', maxTokens: 8 } },
  play: async () => 'done',
});
const pair = defineTeam({
  name: 'pair',
  play: async () => 'done',
  agents: { ...team.agents, second: { role: 'Second', maxTokens: 8 } },
  variants: { alone },
});

test.each([
  ['../elsewhere', 'team.agents.../elsewhere: expected a name of letters'],
  ['reference', 'team.agents.reference: expected another name'],
])(
  'an agent named %s could not be told from something else in a run, and is refused',
  (name, sentence) => {
    const agents = { [name]: { role: 'One', maxTokens: 8 } };
    const named = defineTeam({ name: 'named', agents, play: async () => 'done' });
    expect(() => resolveConfig({ ...minimal, team: named }, options)).toThrow(sentence);
    const variant = { ...pair, variants: { named } };
    expect(() => resolveConfig({ ...minimal, team: variant }, options)).toThrow(
      sentence.replace('team.agents', 'team.variants.named.agents'),
    );
  },
);

test('a variant takes the place of the team, and the names of the team’s agents stay known', () => {
  const overrides = ['variant=alone', 'coaching.showAnswer=["second"]'];
  const config = resolveConfig({ ...minimal, team: pair }, { ...options, overrides });
  expect(config.team).toBe(alone);
  expect(configAsJson(config)).toMatchObject({ variant: 'alone', team: { name: 'alone' } });
});

test.each([
  [['variant=solo'], 'variant: expected a variant of team pair (there is alone), got "solo"'],
  [
    ['training.frozen=["third"]'],
    'training.frozen: expected agents of team pair (first, second), got "third"',
  ],
  [['coaching.showAnswer=["judge"]'], 'coaching.showAnswer: expected agents of team pair'],
  [['training.frozen=["first","second"]'], 'training.frozen names every agent'],
  [['training.frozen=["first"]', 'adapter.shared=true'], 'training.frozen cannot hold still'],
])('%j is refused', (overrides, sentence) => {
  const input = { ...minimal, team: pair };
  expect(() => resolveConfig(input, { ...options, overrides })).toThrow(sentence);
});

test('the MathChat preset is a config with what is one’s own, whose keys win', () => {
  const config = resolveConfig(
    { ...mappaMathchat, ...minimal, seed: 7, team: mathchatTeam },
    options,
  );
  expect(config).toMatchObject({
    seed: 7,
    training: { steps: 128 },
    update: { average: 'action' },
  });
});

test('a config outside the repository that cannot find teamtune is told what to do', async () => {
  const outside = join(await mkdtemp(join(tmpdir(), 'teamtune-config-')), 'outside.config.mjs');
  await writeFile(outside, "import 'teamtune';\n");
  await expect(loadConfig(outside)).rejects.toThrow(/npm install PATH_OF_THE_REPOSITORY/);
});

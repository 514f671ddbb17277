/**
 * The architecture as one array: who may import whom is generated from it.
 *
 * A file may import its own folder and any lower floor. Rooms on floors 1 and 2 are strangers: they never import each
 * other, they meet in src/types and in the corridor (src/train.ts). A folder or file of src without a floor is an error.
 */
const floors = [
  ['types', 'errors.ts', 'random.ts'],
  ['engine', 'tokenizer', 'service', 'tools', 'sandbox', 'run'],
  ['task', 'dsbench', 'rollout', 'coach', 'credit', 'update', 'checkpoint'],
  ['methods', 'train.ts', 'evaluate.ts'],
  [
    'config',
    'wiring.ts',
    'wire-tasks.ts',
    'wire-coach.ts',
    'wire-method.ts',
    'wire-service.ts',
    'wire-models.ts',
    'wire-policies.ts',
    'wire-settings.ts',
    'create-sandbox.ts',
  ],
  ['commands', 'cli.ts', 'dashboard', 'index.ts'],
];

/** Floors whose rooms never import each other. */
const strangerFloors = [1, 2];

/** Pairs of strangers that may meet: the in-process training service drives the engine, the Python tool its sandbox. */
const acquainted = { service: ['engine'], tools: ['sandbox'] };

/** Rooms that may see less than their floor allows. */
const narrower = {
  credit: ['credit', 'types', 'errors.ts'],
  dashboard: ['dashboard', 'run', 'types'],
};

const places = (names) =>
  `^src/(${names.map((name) => (name.endsWith('.ts') ? `${name.replace('.', '\\.')}$` : `${name}/`)).join('|')})`;

const tests = '\\.test\\.ts$';

/** What a room may import: itself, its acquaintances, its own floor where neighbours may meet, every lower floor. */
function allowedFor(room, floor) {
  if (narrower[room]) return narrower[room];
  const neighbours = strangerFloors.includes(floor) ? [] : floors[floor];
  return [...floors.slice(0, floor).flat(), ...neighbours, room, ...(acquainted[room] ?? [])];
}

const layerRules = floors.flatMap((rooms, floor) =>
  rooms.map((room) => ({
    name: `floor-${floor}-${room}`,
    comment: `src/${room} is on floor ${floor}: it may import only ${allowedFor(room, floor).join(', ')}`,
    severity: 'error',
    from: { path: places([room]), pathNot: tests },
    to: { path: '^src/', pathNot: places(allowedFor(room, floor)) },
  })),
);

module.exports = {
  forbidden: [
    ...layerRules,
    {
      name: 'no-folder-without-a-floor',
      comment:
        'every folder and file of src stands on a floor: add it to the array in .dependency-cruiser.cjs, or move it',
      severity: 'error',
      from: {},
      to: { path: '^src/', pathNot: places(floors.flat()) },
    },
    {
      name: 'no-file-without-a-floor',
      comment:
        'every folder and file of src stands on a floor: add it to the array in .dependency-cruiser.cjs, or move it',
      severity: 'error',
      from: { path: '^src/', pathNot: places(floors.flat()) },
      to: {},
    },
    {
      name: 'no-orphan-without-a-floor',
      comment:
        'every folder and file of src stands on a floor: add it to the array in .dependency-cruiser.cjs, or move it',
      severity: 'error',
      from: { orphan: true, path: '^src/', pathNot: places(floors.flat()) },
      to: {},
    },
    {
      name: 'only-native-ts-loads-the-addon',
      comment: 'only src/engine/native.ts may load a .node file',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/engine/native\\.ts$' },
      to: { path: '(\\.node$|^native/)' },
    },
    {
      name: 'only-native-ts-makes-a-require',
      comment:
        'a require function could load the addon past src/engine/native.ts; the sandbox needs one to take modules away',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(engine/native|sandbox/harden-realm)\\.ts$' },
      to: { path: '^(node:)?module$' },
    },
    {
      name: 'src-never-imports-test',
      comment:
        'shipped code does not know the tests; a test beside its source may use test/support',
      severity: 'error',
      from: { path: '^src/', pathNot: tests },
      to: { path: `(^test/|${tests})` },
    },
    {
      name: 'no-cycles',
      comment: 'two files that import each other are one file, or need a third',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unresolvable',
      comment: 'an import that leads nowhere',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Type-only imports count: the layer rule is about what a reader must know, not only about what runs.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.json', '.node'],
    },
  },
};

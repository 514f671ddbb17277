import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root folder. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Everything set-up makes lies in these three ignored folders. */
export const nodeModules = join(root, 'node_modules');
export const privateFolder = join(root, '.teamtune');
export const buildFolder = join(root, 'native', 'build');

/** The compiled addon and the record of how it was made, which `teamtune doctor` reads. */
export const addonFile = join(buildFolder, 'teamtune.node');
export const buildRecordFile = join(buildFolder, 'build.json');

/** A private libtorch: `torch/include`, `torch/lib` and the two CUDA stubs libtorch_cpu wants. */
export const privateLibtorch = join(privateFolder, 'libtorch');

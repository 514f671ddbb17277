import type { Scene } from '../../src/rollout/team.ts';

/** The scene of a play whose programs left no file. */
export const emptyScene: Scene = {
  files: {
    list: async () => [],
    read: async (path) => {
      throw new Error(`there is no file ${path}`);
    },
    collect: async () => new Map(),
  },
  showFeedback: async () => undefined,
  showScore: async () => undefined,
};

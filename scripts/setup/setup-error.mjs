/** Exit code for something outside teamtune that is missing or broke. */
export const outsideFailure = 3;

/** @typedef {{ readonly debian: string, readonly fedora: string, readonly macos: string }} Remedy */

/** @type {Record<'npm' | 'compiler' | 'python' | 'pip', Remedy>} */
export const remedies = {
  npm: {
    debian: 'sudo apt-get install -y npm',
    fedora: 'sudo dnf install -y nodejs-npm',
    macos: 'brew install node',
  },
  compiler: {
    debian: 'sudo apt-get install -y g++',
    fedora: 'sudo dnf install -y gcc-c++',
    macos: 'xcode-select --install',
  },
  python: {
    debian: 'sudo apt-get install -y python3 python3-venv',
    fedora: 'sudo dnf install -y python3 python3-pip',
    macos: 'brew install python',
  },
  pip: {
    debian: 'sudo apt-get install -y python3-venv',
    fedora: 'sudo dnf install -y python3-pip',
    macos: 'brew install python',
  },
};

/** Something outside teamtune that set-up needs and does not have: one sentence, and what to type. */
export class SetupError extends Error {
  /**
   * @param {string} message what is missing and why it is needed, one sentence
   * @param {{ remedy?: Remedy, hints?: readonly string[], cause?: unknown, isFinal?: boolean }} [help] `isFinal`: another way to the same end would fail too, or should not be tried
   */
  constructor(message, help = {}) {
    super(message, { cause: help.cause });
    this.name = 'SetupError';
    this.remedy = help.remedy;
    this.hints = help.hints ?? [];
    this.isFinal = help.isFinal ?? false;
  }

  /** @returns {string} the whole text to print, ending in a new line */
  explain() {
    const commands = this.remedy
      ? [
          `  Debian, Ubuntu  ${this.remedy.debian}`,
          `  Fedora          ${this.remedy.fedora}`,
          `  macOS           ${this.remedy.macos}`,
        ]
      : [];
    const hints = this.hints.map((hint) => `  ${hint}`);
    const lines = [`teamtune set-up: ${this.message}`, ...commands, ...hints];
    if (commands.length > 0)
      lines.push('Then run the same command again; what is done already is kept.');
    return `${lines.join('\n')}\n`;
  }
}

/**
 * Turns a file-system error of set-up into a sentence; anything else is our bug and passes through.
 *
 * @param {unknown} error
 * @returns {unknown}
 */
export function explainFileError(error) {
  if (!(error instanceof Error) || !('code' in error)) return error;
  const path = 'path' in error ? String(error.path) : 'the project folder';
  if (error.code === 'EROFS' || error.code === 'EACCES' || error.code === 'EPERM') {
    return new SetupError(
      `${path} may not be written, but set-up keeps npm packages, libtorch and the compiled addon inside the project folder.`,
      {
        hints: ['Clone the repository into a folder of your own, or make this one writable.'],
        cause: error,
      },
    );
  }
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT') {
    return new SetupError(
      `no disk space is left while writing ${path}; set-up needs about 3 GB while it works and keeps about 1.2 GB.`,
      { hints: ['Free some space, then run the same command again.'], cause: error },
    );
  }
  return error;
}

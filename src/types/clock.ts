/** Time that something is given. */
export type Clock = {
  /**
   * Makes it stand still, as long as anybody holds it.
   *
   * @returns lets go; a second call does nothing more
   */
  readonly hold: () => () => void;
};

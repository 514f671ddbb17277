/** All results; at the first failure the others are stopped and waited for, so that nothing runs on unwatched. */
export async function allOrStop<Result>(
  promises: readonly Promise<Result>[],
  stop: AbortController,
): Promise<Result[]> {
  try {
    return await Promise.all(promises);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(promises);
    throw error;
  }
}

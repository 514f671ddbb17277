/** What libtorch and the C++ library say when an allocation fails, with the place that was asked. */
const failures: readonly (readonly [place: string, pattern: RegExp])[] = [
  ['the GPU', /CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED/],
  ['the CPU', /DefaultCPUAllocator: (?:can't allocate|not enough) memory|std::bad_alloc/],
];

/**
 * Turns libtorch's message of a failed allocation into one that says which knob to turn.
 *
 * @returns undefined for a message about something else
 */
export function explainOutOfMemory(message: string): string | undefined {
  const [place] = failures.find(([, pattern]) => pattern.test(message)) ?? [];
  if (place === undefined) return undefined;
  return `out of memory on ${place}${requested(message)}: lower model.microBatchTokens or set model.gradientCheckpointing (training), lower model.maxRows (sampling), or load the weights as bfloat16 (model.dtype); \`teamtune plan\` says what a run takes; libtorch says: ${message.split('\n', 1)[0]}`;
}

function requested(message: string): string {
  const bytes = /tried to allocate (\d+) bytes/.exec(message)?.[1];
  if (bytes !== undefined) return `, asked for ${sizeOf(Number(bytes))}`;
  const units = /Tried to allocate ([\d.]+ [KMGT]iB)/.exec(message)?.[1];
  return units === undefined ? '' : `, asked for ${units}`;
}

function sizeOf(bytes: number): string {
  const gibibytes = bytes / 2 ** 30;
  return gibibytes < 1 ? `${(1024 * gibibytes).toFixed(1)} MiB` : `${gibibytes.toFixed(1)} GiB`;
}

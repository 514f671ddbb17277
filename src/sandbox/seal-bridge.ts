/** Functions of JavaScript that the interpreter calls; a table the loader fills and WebAssembly imports. */
type Imports = { readonly env?: Record<string, unknown> };

type WebAssemblyNames = 'Module' | 'Instance' | 'compile' | 'instantiate';
type WebAssemblyObject = Record<WebAssemblyNames, unknown>;

/** What makes, reads, changes or calls JavaScript objects for Python, or reaches scripts and the network. */
const bridge =
  /^_*(Js|js|hiwire|pyproxy|py2js|python2js|raw_call|array_to_js|create_|get_async|handle_next|new_error|wrap_|set_pyodide|set_suspender|can_run|proxy_cache|emscripten_(system|run_script|asm_const|fetch|wget|websocket)|syscall_(socket|connect|bind|listen|accept|sendto|sendmsg))/;

/** What passing a string in and a string out takes; none of these can make an object or reach one from another. */
const needed =
  /^(JsvArray_Get|js2python_js|_python2js_(ascii|ucs1|ucs2|ucs4)|JsvError_Check|JsvNoValue_Check|hiwire_invalid_ref_js)$/;

/** The message of the error that a closed bridge throws. */
export const bridgeClosed = 'the bridge to JavaScript is closed';

/**
 * Puts a gate into every function of the bridge between Python and JavaScript; must come before the interpreter loads.
 * Closed, a JavaScript object is of no use to Python code that got hold of one, and no new machine code is loaded.
 */
export function interceptBridge(): { readonly close: () => void } {
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyObject };
  const instantiate = WebAssembly.instantiate as (source: unknown, imports?: Imports) => unknown;
  let isClosed = false;
  const gated = (target: (...values: unknown[]) => unknown) =>
    Object.assign((...values: unknown[]) => {
      if (isClosed) throw new Error(bridgeClosed);
      return target(...values);
    }, target);
  WebAssembly.instantiate = (source: unknown, imports?: Imports) => {
    const env = imports?.env ?? {};
    for (const [name, target] of Object.entries(env))
      if (typeof target === 'function' && bridge.test(name) && !needed.test(name))
        env[name] = gated(target as (...values: unknown[]) => unknown);
    return instantiate.call(WebAssembly, source, imports);
  };
  return {
    close: () => {
      isClosed = true;
      const refuse = () => {
        throw new Error(bridgeClosed);
      };
      for (const name of ['Module', 'Instance', 'compile', 'instantiate'] as const)
        WebAssembly[name] = refuse;
    },
  };
}

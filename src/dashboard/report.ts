import { replaceFile } from '../run/replace-file.ts';
import type { Run } from '../run/run-store.ts';
import { gatherReport } from './report-numbers.ts';
import { renderPage } from './report-page.ts';

/**
 * Writes the report of a run: one HTML file that needs no network, no script and no other file.
 *
 * @param path for example `runs/a/report.html`; an earlier report is replaced whole
 * @throws BoundaryError("run") when it cannot be written
 */
export function writeReport(run: Run, path: string): void {
  replaceFile(path, [renderPage(gatherReport(run))]);
}

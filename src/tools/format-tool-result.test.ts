import { describe, expect, it } from 'vitest';
import type { ToolResult } from '../types/tool.ts';
import { formatToolResult, formatToolResults } from './format-tool-result.ts';

const result = (status: ToolResult['status'], output: string): ToolResult => ({
  tool: 'python',
  status,
  output,
  durationMs: 1,
});

describe('formatToolResult', () => {
  it('shows the output alone when all went well, and says when there is none', () => {
    expect(formatToolResult(result('ok', '42\n'))).toBe('42');
    expect(formatToolResult(result('ok', ''))).toBe('[no output]');
  });

  it('labels everything else with its status', () => {
    expect(formatToolResult(result('timeout', 'Stopped.\n'))).toBe('[timeout]\nStopped.');
    expect(formatToolResult(result('error', ''))).toBe('[error]');
  });

  it('leaves out the middle of long output and says how much', () => {
    expect(formatToolResult(result('ok', 'abcdefghij'), { limit: 4 })).toBe(
      'ab\n[… 6 characters left out …]\nij',
    );
    expect(formatToolResult(result('ok', 'abcd'), { limit: 4 })).toBe('abcd');
  });

  it('sets the results of one action apart', () => {
    expect(formatToolResults([result('ok', '1\n'), result('error', '2')])).toBe(
      '1\n------\n[error]\n2',
    );
  });

  it('shares the limit of an action among its results, and short ones leave theirs to the long', () => {
    const results = [result('ok', 'a'), result('ok', 'bcdefghij'), result('ok', 'klmnopqrs')];
    const shown = formatToolResults(results, { limit: 9 });
    expect(shown.split('\n------\n')).toEqual([
      'a',
      'bc\n[… 5 characters left out …]\nij',
      'kl\n[… 5 characters left out …]\nrs',
    ]);
    expect(formatToolResults(results, { limit: 19 })).not.toContain('left out');
  });
});

/**
 * An MCP server for tests: `node answering-mcp-server.ts` speaks over standard streams, `http` as argument over HTTP,
 * printing its address. Its tool `shout` answers, `hang` never does, `die` ends the process, `secret` is not for agents.
 */
import { createServer } from 'node:http';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { z } from 'zod';

function createMcpServer(): McpServer {
  const server = new McpServer({ name: 'answering', version: '1' });
  const inputSchema = { text: z.string() };
  server.registerTool('shout', { description: 'Shouts.', inputSchema }, async ({ text }) => ({
    content: [
      { type: 'text', text: `${text.toUpperCase()} ${process.env.TEAMTUNE_TEST_KEY ?? ''}` },
    ],
    isError: text === 'wrong',
  }));
  server.registerTool('hang', { description: 'Waits.' }, () => new Promise(() => undefined));
  server.registerTool('die', { description: 'Ends.' }, () => process.exit(1));
  server.registerTool('secret', { description: 'Not for agents.' }, async () => ({ content: [] }));
  return server;
}

if (process.argv[2] === 'http') {
  const http = createServer(async (request, response) => {
    const transport = new StreamableHTTPServerTransport({});
    await createMcpServer().connect(transport as Transport);
    await transport.handleRequest(request, response);
  });
  http.listen(0, '127.0.0.1', () => {
    const address = http.address();
    process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`);
  });
} else await createMcpServer().connect(new StdioServerTransport());

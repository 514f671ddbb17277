export { malt } from './config/method-schema.ts';
export { maltPaper, mappaDsbench, mappaMathchat } from './config/presets.ts';
export {
  type CoachFunction,
  type CoachVerdict,
  defineRun,
  type RunInput,
} from './config/schema.ts';
export { tinker, vllm } from './config/service-schema.ts';
export { BoundaryError } from './errors.ts';
export { type DiscussionOptions, discussionTeam } from './methods/discussion.ts';
export {
  type ActResult,
  type Agent,
  type AgentDeclaration,
  defineTeam,
  type Scene,
  type Team,
} from './rollout/team.ts';
export { defineTool, type FunctionTool } from './tools/define-tool.ts';
export { type McpServer, mcpServer } from './tools/mcp-server.ts';
export type { Coach, CoachRequest, Feedback, Outcome } from './types/feedback.ts';
export type { Message } from './types/message.ts';
export type { WorkspaceFile, WorkspaceFiles } from './types/sandbox.ts';
export type { Task } from './types/task.ts';
export type { Tool, ToolCall, ToolResult, ToolSource } from './types/tool.ts';
export type { Action, Trajectory } from './types/trajectory.ts';

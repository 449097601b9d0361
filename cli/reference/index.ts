/** What is made from the definitions of the commands: completions for shells, and manual pages. */
export { bashCompletion } from './bash';
export { fishCompletion } from './fish';
export { manualPages, type ManualPage } from './man';
export { type CommandInfo, describeCommands } from './model';
export { zshCompletion } from './zsh';

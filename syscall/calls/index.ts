export * from './files';
export * from './flags';
export * from './messages';
export * from './mounts';
export * from './processes';

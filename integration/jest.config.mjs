/** Tests against real containerd, one file at a time: each file starts its own and looks at the whole machine for leaks. */
export default {
  testEnvironment: 'node',
  rootDir: '..',
  roots: ['<rootDir>/integration'],
  testMatch: ['<rootDir>/integration/*/**/*.test.ts'],
  testPathIgnorePatterns: ['<rootDir>/integration/harness/'],
  maxWorkers: 1,
  testTimeout: 60_000,
  verbose: true,
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2023', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
    ],
  },
  moduleNameMapper: { '^ttrpc$': '<rootDir>/ttrpc/src/index.ts' },
};

/** Unit tests: beside the code, no root needed unless a test says so. Integration tests: integration/jest.config.mjs. */
export default {
  testEnvironment: 'node',
  roots: [
    '<rootDir>/errors',
    '<rootDir>/native',
    '<rootDir>/syscall',
    '<rootDir>/ttrpc/src',
    '<rootDir>/proto',
    '<rootDir>/oci',
    '<rootDir>/gofer',
    '<rootDir>/sandbox',
    '<rootDir>/shim',
    '<rootDir>/cli',
    '<rootDir>/integration/harness',
    '<rootDir>/tools',
  ],
  testMatch: ['**/*.test.ts'],
  // A machine that does other things as well is slow, not wrong.
  testTimeout: 30_000,
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2023', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
    ],
  },
  moduleNameMapper: { '^ttrpc$': '<rootDir>/ttrpc/src/index.ts' },
};

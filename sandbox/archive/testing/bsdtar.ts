import { spawnSync } from 'node:child_process';

const found = spawnSync('bsdtar', ['--version']).status === 0;

/** How a test that runs bsdtar is declared, and what its name ends in: the reason where it is skipped. */
export const bsdtarTest = found ? test : test.skip;
export const withoutBsdtar = found ? '' : ' [skipped: there is no bsdtar]';

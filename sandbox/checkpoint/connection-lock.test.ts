import { connectionsIn, heldRules } from './connection-lock';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const rule = (chain: string, source: string, sport: number, destination: string, dport: number, bits = 32): string =>
  `-A ${chain} -s ${source}/${bits} -d ${destination}/${bits} -p tcp -m mark ! --mark 0xc114 -m tcp --sport ${sport} --dport ${dport} -j DROP`;

test('the rules of connections that are there are found, in both directions, and no others', () => {
  const table = `${HEAD}\n   0: 0207D50A:0FA0 0107D50A:B978 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n`;
  const own = [rule('INPUT', '10.213.7.1', 47480, '10.213.7.2', 4000), rule('OUTPUT', '10.213.7.2', 4000, '10.213.7.1', 47480)]; // prettier-ignore
  const others = [
    rule('INPUT', '10.213.7.2', 4000, '10.213.7.1', 47480),
    rule('INPUT', '10.213.7.1', 47481, '10.213.7.2', 4000),
    '-A INPUT -s 10.213.7.1/32 -d 10.213.7.2/32 -p tcp -m tcp --sport 47480 --dport 4000 -j DROP',
    '-A CRIU -j DROP',
  ];
  expect(heldRules(['*filter', ...own, ...others, 'COMMIT'].join('\n'), connectionsIn(table))).toEqual(own);
});

test('addresses of IPv6 are found in whatever way they are written', () => {
  const line = (own: string, peer: string): string => `   0: ${own}:0FA0 ${peer}:0FA1 01 0:0`;
  const table = [
    HEAD,
    line('000900FD000000000000000007000000', '000900FD000000000000000008000000'),
    line('0000000000000000FFFF00000207D50A', '0000000000000000FFFF00000107D50A'),
  ].join('\n');
  const rules = [
    rule('OUTPUT', 'fd00:900::7', 4000, 'fd00:900::8', 4001, 128),
    rule('INPUT', '::ffff:10.213.7.1', 4001, '::ffff:10.213.7.2', 4000, 128),
  ];
  expect(heldRules(rules.join('\n'), connectionsIn(table))).toEqual(rules);
});

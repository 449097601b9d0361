/** CRC-16 with the reflected polynomial 0x8005, as ext4 has it in its group descriptors (lib/crc16.c of Linux). */
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  return crc;
});

/** @param crc the checksum of what came before; 0xffff is where ext4 starts */
export function crc16(crc: number, bytes: Uint8Array): number {
  let sum = crc;
  for (const byte of bytes) sum = (sum >>> 8) ^ TABLE[(sum ^ byte) & 0xff]!;
  return sum;
}

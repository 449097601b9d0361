export { moveNetDevices } from './net-devices';

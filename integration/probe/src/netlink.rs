//! One question by netlink, of a kind that the kernel answers only with CAP_NET_ADMIN and that changes nothing.

use std::io;
use std::os::fd::AsRawFd as _;

use crate::attempts::{call, past};
use crate::syscalls::{self, Arg};

use Arg::{Buffer, Null, Number};

/// `XFRM_MSG_GETSADINFO` of linux/xfrm.h, with its four bytes of flags.
pub(crate) const XFRM_GET_INFO: u16 = 0x23;
/// `NFT_MSG_GETGEN` of the subsystem nf_tables, of linux/netfilter/nfnetlink.h.
pub(crate) const NFTABLES_GET_GENERATION: u16 = 10 << 8 | 16;

/// Length, type, flags, sequence, port; four bytes of the request's own.
const BYTES: u8 = 20;
/// NLM_F_REQUEST and NLM_F_ACK.
const FLAGS: u16 = 5;
const ERROR: u16 = 2;

/// Asks, and fails with the error that the kernel answers.
pub(crate) fn ask(protocol: i32, kind: u16) -> io::Result<()> {
    let family = Number(libc::AF_NETLINK.into());
    let kinds = Number(i64::from(libc::SOCK_RAW | libc::SOCK_CLOEXEC));
    let socket = syscalls::call_for_descriptor(libc::SYS_socket, &mut [family, kinds, Number(protocol.into())])?;
    let descriptor = i64::from(socket.as_raw_fd());
    let mut request = [0_u8; BYTES as usize];
    request[..4].copy_from_slice(&u32::from(BYTES).to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
    let length = Number(BYTES.into());
    call(libc::SYS_sendto, &mut [Number(descriptor), Buffer(&mut request), length, Number(0), Null, Number(0)])?;
    let mut answer = [0_u8; 256];
    let room = Number(256);
    call(libc::SYS_recvfrom, &mut [Number(descriptor), Buffer(&mut answer), room, Number(0), Null, Null])?;
    let errno = match u16::from_ne_bytes([answer[4], answer[5]]) {
        ERROR => -i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]),
        _ => 0,
    };
    let result = if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) };
    // A kernel without the subsystem behind the protocol says so after it has looked at the capability.
    past(result, &[libc::EINVAL, libc::EOPNOTSUPP])
}

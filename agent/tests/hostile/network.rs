//! The network, and every other way of talking to somebody outside.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::attempts::{Attempt, Control, Found, attempt};
use crate::world::World;
use crate::{MARKER, sys};

const STREAM: i32 = 1;
const DATAGRAM: i32 = 2;
const RAW: i32 = 3;

/// Kinds of sockets that lead out by their mere existence: domain, type, protocol.
const SOCKETS: [(&str, Control, i32, i32, i32); 8] = [
    ("socket-netlink", Control::Must, 16, RAW, 0),
    ("socket-device-events", Control::May, 16, RAW, 15),
    ("socket-raw", Control::May, 2, RAW, 1),
    ("socket-ping", Control::May, 2, DATAGRAM, 1),
    ("socket-packet", Control::May, 17, RAW, 0x0300),
    ("socket-to-the-host-of-a-virtual-machine", Control::May, 40, STREAM, 0),
    ("socket-kernel-crypto", Control::May, 38, 5, 0),
    ("socket-bluetooth", Control::May, 31, RAW, 1),
];

pub fn attempts() -> Vec<Attempt> {
    let mut all: Vec<Attempt> = SOCKETS
        .into_iter()
        .map(|(name, control, domain, kind, protocol)| {
            // SAFETY: no memory is involved.
            attempt(name, control, move |_| Found::of(sys::check(unsafe { sys::socket(domain, kind, protocol) })))
        })
        .collect();
    let more: [(&str, Control, fn(&World) -> Found); 16] = [
        ("tcp-connect", Control::Must, |world| tcp(world, "tcp-connect", format!("127.0.0.1:{}", world.get("tcp")))),
        ("tcp-connect-mapped", Control::May, |world| {
            tcp(world, "tcp-connect-mapped", format!("[::ffff:127.0.0.1]:{}", world.get("tcp")))
        }),
        ("tcp-bind", Control::Must, |_| Found::of(TcpListener::bind("0.0.0.0:0"))),
        ("udp-send", Control::Must, |world| udp(world, "udp-send", "udp")),
        ("udp-bind", Control::Must, |_| Found::of(UdpSocket::bind("0.0.0.0:0"))),
        ("ask-a-name-server", Control::Must, |world| udp(world, "ask-a-name-server", "dns")),
        ("unix-socket-in-home", Control::Must, |world| unix(world.get("unix"), "unix-socket-in-home")),
        ("unix-socket-in-a-readable-folder", Control::Must, |world| {
            unix(world.get("unix-readable"), "unix-socket-in-a-readable-folder")
        }),
        ("unix-datagram-in-home", Control::Must, |world| {
            let sent = std::os::unix::net::UnixDatagram::unbound()
                .and_then(|socket| socket.send_to(b"unix-datagram-in-home", world.get("unix-datagram")));
            Found::done(sent, "arrived unix-datagram-in-home")
        }),
        ("unix-datagram-in-a-readable-folder", Control::Must, |world| {
            let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
                socket.send_to(b"unix-datagram-in-a-readable-folder", world.get("unix-readable-datagram"))
            });
            Found::done(sent, "arrived unix-datagram-in-a-readable-folder")
        }),
        ("unix-datagram-from-a-pair", Control::Must, |world| {
            let sent = std::os::unix::net::UnixDatagram::pair().and_then(|(socket, _)| {
                socket.send_to(b"unix-datagram-from-a-pair", world.get("unix-readable-datagram"))
            });
            Found::done(sent, "arrived unix-datagram-from-a-pair")
        }),
        ("abstract-socket", Control::Must, |world| {
            let sent = std::os::unix::net::SocketAddr::from_abstract_name(world.get("abstract"))
                .and_then(|address| UnixStream::connect_addr(&address))
                .and_then(|mut stream| stream.write_all(b"abstract-socket"));
            Found::done(sent, "arrived abstract-socket")
        }),
        ("abstract-listen", Control::Must, |world| {
            let name = format!("{}-answer", world.get("abstract"));
            // Whoever can listen here is found by others of the machine, unless the name is its own.
            let bound = std::os::unix::net::SocketAddr::from_abstract_name(name)
                .and_then(|address| UnixListener::bind_addr(&address));
            if !world.is_control() && own_network(world) {
                return Found::Held("a network of its own: nobody outside can find the name".to_owned());
            }
            Found::of(bound)
        }),
        ("socket-with-high-bits", Control::May, |_| {
            // The kernel looks at 32 bits of the domain; a filter that compares 64 lets this through.
            Found::of(sys::call(sys::number::SOCKET, &[2 | 1 << 32, i64::from(STREAM), 0]))
        }),
        ("socket-by-another-table-of-calls", Control::Never, other_table),
        ("socket-by-the-32-bit-entry", Control::Never, old_entry),
    ];
    all.extend(more.into_iter().map(|(name, control, make)| attempt(name, control, make)));
    all.push(attempt("system-v-shared-memory", Control::May, shared_memory));
    all.push(attempt("system-v-new-segment", Control::May, |_| {
        // SAFETY: no memory is involved; the segment is marked for removal at once.
        let id = unsafe { sys::shmget(0, 4096, 0o1600) };
        let made = sys::check(id);
        if id >= 0 {
            // SAFETY: 0 is IPC_RMID.
            unsafe { sys::shmctl(id, 0, std::ptr::null_mut()) };
        }
        Found::of(made)
    }));
    all.push(attempt("message-queue", Control::May, |world| {
        let name = sys::c(format!("/nocturne-{}", world.get("victim")));
        // SAFETY: the name outlives the call. 2 is O_RDWR.
        Found::of(sys::check(unsafe { sys::mq_open(name.as_ptr(), 2) }))
    }));
    all
}

fn tcp(_: &World, name: &str, address: String) -> Found {
    let sent = address.parse::<SocketAddr>().map_err(io::Error::other).and_then(|address| {
        TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2))?.write_all(name.as_bytes())
    });
    Found::done(sent, format!("arrived {name}"))
}

fn udp(world: &World, name: &str, key: &str) -> Found {
    let port = world.number(key) as u16;
    let sent = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(name.as_bytes(), ("127.0.0.1", port)));
    Found::done(sent, format!("arrived {name}"))
}

fn unix(path: &str, name: &str) -> Found {
    let sent = UnixStream::connect(path).and_then(|mut stream| stream.write_all(name.as_bytes()));
    Found::done(sent, format!("arrived {name}"))
}

fn own_network(world: &World) -> bool {
    own(world, "net")
}

/// Whether the namespace can be seen to be another than the one outside.
fn own(world: &World, kind: &str) -> bool {
    std::fs::read_link(format!("/proc/self/ns/{kind}")).is_ok_and(|link| link.to_string_lossy() != world.get(kind))
}

/// The segment of the bystander outside.
fn shared_memory(world: &World) -> Found {
    // SAFETY: attached for reading only, and read within its length.
    unsafe {
        let at = sys::shmat(world.pid("segment"), std::ptr::null(), 0o10000);
        if at.addr() == usize::MAX {
            return Found::Held(io::Error::last_os_error().to_string());
        }
        let bytes = std::slice::from_raw_parts(at.cast::<u8>(), MARKER.len());
        Found::when(bytes == MARKER.as_bytes(), "attached")
    }
}

/// x32: the same calls under numbers with bit 30 set, which a filter by number does not know.
#[cfg(target_arch = "x86_64")]
fn other_table(_: &World) -> Found {
    Found::of(sys::call(0x4000_0000 + sys::number::SOCKET, &[2, i64::from(STREAM), 0]))
}

/// The entry of 32-bit programs, which has numbers of its own: 359 is socket.
#[cfg(target_arch = "x86_64")]
fn old_entry(_: &World) -> Found {
    let result: i64;
    // SAFETY: the call takes numbers only; rbx, which the compiler keeps for itself, is restored.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {domain}", "int 0x80", "xchg rbx, {domain}",
            domain = inout(reg) 2_i64 => _,
            inlateout("rax") 359_i64 => result,
            in("rcx") i64::from(STREAM), in("rdx") 0_i64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    Found::when(result as i32 >= 0, format!("it answered {}", result as i32))
}

#[cfg(not(target_arch = "x86_64"))]
fn other_table(_: &World) -> Found {
    Found::Held("this processor has no other table".to_owned())
}

#[cfg(not(target_arch = "x86_64"))]
fn old_entry(_: &World) -> Found {
    Found::Held("this processor has no such entry".to_owned())
}

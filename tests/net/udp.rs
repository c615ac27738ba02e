//! UDP.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use green::net::UdpSocket;

use crate::everywhere;

fn pair() -> (UdpSocket, UdpSocket) {
    let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (a, b)
}

#[test]
fn datagrams_arrive_whole_and_one_by_one() {
    everywhere(|| {
        let (a, b) = pair();
        let receives = green::spawn(move || {
            let mut buf = [0; 64];
            (1..=20).all(|len| b.recv(&mut buf).unwrap() == len && buf[..len] == vec![len as u8; len])
        });
        for len in 1..=20 {
            assert_eq!(a.send(&vec![len as u8; len]).unwrap(), len);
        }
        assert!(receives.join().unwrap());
    });
}

#[test]
fn a_receiver_learns_where_a_datagram_comes_from_and_may_peek() {
    everywhere(|| {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = b.local_addr().unwrap();
        let sender = a.try_clone().unwrap();
        let sends = green::spawn(move || sender.send_to(b"hello", to).unwrap());
        let mut buf = [0; 3];
        assert_eq!(b.peek_from(&mut buf).unwrap(), (3, a.local_addr().unwrap()));
        assert_eq!(b.recv_from(&mut buf).unwrap(), (3, a.local_addr().unwrap()));
        assert_eq!(&buf, b"hel");
        assert_eq!(sends.join().unwrap(), 5);
    });
}

#[test]
fn time_outs_non_blocking_and_settings_are_those_of_std() {
    everywhere(|| {
        let (a, b) = pair();
        a.set_read_timeout(Some(Duration::from_millis(3))).unwrap();
        assert_eq!(a.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(a.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        b.set_nonblocking(true).unwrap();
        assert_eq!(b.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(a.peer_addr().unwrap(), b.local_addr().unwrap());
        a.set_broadcast(true).unwrap();
        assert!(a.broadcast().unwrap());
        a.set_multicast_ttl_v4(3).unwrap();
        assert_eq!(a.multicast_ttl_v4().unwrap(), 3);
        a.set_multicast_loop_v4(false).unwrap();
        assert!(!a.multicast_loop_v4().unwrap());
        a.set_ttl(9).unwrap();
        assert_eq!(a.ttl().unwrap(), 9);
        assert!(a.join_multicast_v4(&Ipv4Addr::new(127, 0, 0, 1), &Ipv4Addr::UNSPECIFIED).is_err());
        assert_eq!(a.send_to(b"x", &[][..]).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(a.take_error().unwrap().is_none());
    });
}

#[test]
fn a_refused_datagram_wakes_the_receiver_with_the_error() {
    everywhere(|| {
        let a = UdpSocket::bind("127.0.0.1:0").unwrap();
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        a.connect(nobody).unwrap();
        let receiver = a.try_clone().unwrap();
        let receives = green::spawn(move || receiver.recv(&mut [0]).unwrap_err().kind());
        green::yield_now();
        let _ = a.send(b"x");
        assert_eq!(receives.join().unwrap(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_socket_comes_from_std_and_goes_back() {
    everywhere(|| {
        let plain = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = plain.local_addr().unwrap();
        let ours = UdpSocket::from(plain);
        assert_eq!(ours.send_to(b"me", addr).unwrap(), 2);
        assert_eq!(ours.recv(&mut [0; 8]).unwrap(), 2);
        assert_eq!(std::net::UdpSocket::from(ours).local_addr().unwrap(), addr);
    });
}

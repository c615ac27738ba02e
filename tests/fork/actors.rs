//! A handler that forks.

use green::actor::{Actor, Context, Handler, Message};

use crate::help::{bounded, in_a_child, runtime};

/// Forks, and returns in the child, too.
struct Forks;
impl Actor for Forks {}
struct Fork;
impl Message for Fork {
    type Reply = i32;
}
impl Handler<Fork> for Forks {
    fn handle(&mut self, _: Fork, _: &mut Context<Self>) -> i32 {
        // SAFETY: no requirements.
        unsafe { libc::fork() }
    }
}

#[test]
fn an_actor_that_returns_from_its_handler_in_the_child_ends_that_with_a_message() {
    let ended = in_a_child(&[], || {
        for asked in [false, true] {
            let status = bounded(move || {
                runtime(1).run(move || {
                    let forks = Forks.start();
                    let child = if asked {
                        forks.send(Fork).unwrap()
                    } else {
                        // One behind the other, so that there is a next run.
                        let other = Forks.start();
                        forks.tell(Fork).unwrap();
                        other.tell(Fork).unwrap();
                        green::yield_now();
                        other.send(Fork).unwrap()
                    };
                    let mut status = 0;
                    // SAFETY: the call writes one number.
                    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                    // SAFETY: as above; the children of those that were told.
                    while unsafe { libc::waitpid(-1, &raw mut status, 0) } > 0 {
                        assert_eq!(status & 0x7f, libc::SIGABRT, "{status}");
                    }
                    status
                })
            });
            assert_eq!(status & 0x7f, libc::SIGABRT, "{status}");
        }
    });
    assert!(ended.output.contains("has come to its end in the child"), "{}", ended.output);
    ended.assert_success();
}

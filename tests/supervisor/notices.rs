//! What a supervisor tells itself.

use std::sync::{Arc, Mutex};

use green::actor::{Child, DeadLetter, Recipient, Supervisor, dead_letters};

use crate::help::{Gate, bounded};
use crate::{End, Log, eager, get, puppet};

/// That a child has ended was a dead letter, of a type that no user knows, when the supervisor ended first.
#[test]
fn what_a_supervisor_does_not_come_to_is_no_dead_letter() {
    bounded(|| {
        let lost = Arc::new(Mutex::new(Vec::new()));
        let letters = Arc::clone(&lost);
        let reader = Recipient::from_fn(move |letter: DeadLetter| letters.lock().unwrap().push(letter.message));
        dead_letters().subscribe(&reader);
        let log = Log::default();
        let sup = eager(Supervisor::one_for_one()).child(puppet("a", &log)).start().unwrap();
        let a = get(&sup, "a");
        let (starts, gate) = (Gate::new(), Gate::new());
        let (inside, waits) = (starts.clone(), gate.clone());
        let (other, text) = (sup.clone(), log.clone());
        // The supervisor is busy with a child that takes its time.
        let adds = green::spawn(move || {
            let late = Child::new("late", move || {
                inside.open();
                waits.wait();
                crate::Puppet { name: "late".to_owned(), log: text.clone(), sum: 0 }
            });
            let _ = other.start_child(late);
        });
        starts.wait();
        let _ = a.send(End::Panic);
        until_down(&sup);
        sup.kill();
        gate.open();
        sup.join();
        adds.join().unwrap();
        // The reader has handled what it was told before.
        reader.stop();
        reader.join();
        let lost = lost.lock().unwrap();
        // Others' dead letters, of this file's own types, are there, too.
        assert!(!lost.iter().any(|message| message.contains("actor::supervisor")), "{lost:?}");
    });
}

fn until_down(sup: &green::actor::SupervisorAddr) {
    crate::help::until(|| sup.tree().find("a").is_some_and(|a| a.state != green::actor::ChildState::Runs));
}

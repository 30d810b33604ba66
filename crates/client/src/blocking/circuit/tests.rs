//! The clock of these tests is an argument.

use super::*;

const OPTIONS: CircuitOptions = CircuitOptions {
    failures: 3,
    cooldown: Duration::from_secs(5),
};

fn server(port: u16) -> String {
    format!("redis:{port}")
}

/// Circuits whose clock the test turns.
struct World {
    circuits: Circuits,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            circuits: Circuits::default(),
            now: Instant::now(),
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn enter(&mut self) -> Result<Kind, Unreached> {
        self.circuits.enter(&server(1), OPTIONS, self.now)
    }

    /// Makes a call that connects, and returns its kind, or the reason why it did not.
    fn call(&mut self, shown: Shown) -> Result<Kind, Unreached> {
        let kind = self.enter()?;
        let now = self.now;
        self.circuits.leave(&server(1), OPTIONS, kind, shown, now);
        Ok(kind)
    }

    fn fail(&mut self) -> Result<Kind, Unreached> {
        self.call(Shown::Unreached("refused".to_owned()))
    }

    fn opened() -> Self {
        let mut world = Self::new();
        for kind in [Kind::Closed, Kind::Doubted, Kind::Doubted] {
            assert_eq!(world.fail(), Ok(kind));
        }
        world
    }
}

#[test]
fn failures_in_a_row_open_the_circuit() {
    let mut world = World::opened();
    world.pass(1500);
    let refused = world.enter().unwrap_err();
    assert_eq!((refused.failures, &*refused.reason), (3, "refused"));
    assert_eq!(refused.retry_after, Some(Duration::from_millis(3500)));
    // Refused calls neither count nor extend the cooldown.
    world.pass(3499);
    let left = world.enter().unwrap_err().retry_after;
    assert_eq!(left, Some(Duration::from_millis(1)));
}

#[test]
fn one_silence_opens_the_circuit_until_an_answer() {
    let silence = || Shown::Silent("no answer".to_owned());
    let mut world = World::new();
    assert_eq!(world.call(silence()), Ok(Kind::Closed));
    let refused = world.enter().unwrap_err();
    assert_eq!((refused.failures, &*refused.reason), (1, "no answer"));
    assert_eq!(refused.retry_after, Some(OPTIONS.cooldown));
    // The server is still away, even if it refuses now.
    world.pass(5000);
    assert_eq!(world.fail(), Ok(Kind::Probe));
    assert_eq!(world.enter().unwrap_err().failures, 2);
    world.pass(5000);
    assert_eq!(world.call(Shown::Reached), Ok(Kind::Probe));
    assert_eq!(world.fail(), Ok(Kind::Closed));
    assert_eq!(world.fail(), Ok(Kind::Doubted));
    assert_eq!(world.call(silence()), Ok(Kind::Doubted));
    assert_eq!(world.enter().unwrap_err().failures, 3);
    // Without a circuit, it is asked every time.
    let off = CircuitOptions::default();
    let (server, now) = (server(7), world.now);
    let circuits = &mut world.circuits;
    circuits.leave(&server, off, Kind::Closed, silence(), now);
    assert_eq!(circuits.enter(&server, off, now), Ok(Kind::Closed));
    assert_eq!(circuits.enter(&server, OPTIONS, now), Ok(Kind::Closed));
}

#[test]
fn an_answer_starts_the_row_again() {
    let mut world = World::new();
    for shown in [2, 2, 0] {
        for _ in 0..shown {
            world.fail().unwrap();
        }
        world.call(Shown::Reached).unwrap();
    }
    assert_eq!(world.enter(), Ok(Kind::Closed));
}

#[test]
fn a_cause_in_this_process_does_not_count() {
    let mut world = World::new();
    for _ in 0..2 {
        world.fail().unwrap();
        world.call(Shown::Nothing).unwrap();
    }
    assert_eq!(world.enter(), Ok(Kind::Doubted));
}

#[test]
fn one_call_probes_after_the_cooldown() {
    let mut world = World::opened();
    world.pass(5000);
    assert_eq!(world.enter(), Ok(Kind::Probe));
    // A signal handler may make another call while the probe waits.
    assert!(world.enter().is_err());
    let now = world.now;
    let reached = Shown::Reached;
    world
        .circuits
        .leave(&server(1), OPTIONS, Kind::Probe, reached, now);
    assert_eq!(world.enter(), Ok(Kind::Closed));
}

#[test]
fn a_failed_probe_begins_another_cooldown() {
    let mut world = World::opened();
    for failures in 4..7 {
        world.pass(5000);
        assert_eq!(world.fail(), Ok(Kind::Probe));
        let refused = world.enter().unwrap_err();
        assert_eq!(refused.failures, failures);
        assert_eq!(refused.retry_after, Some(OPTIONS.cooldown));
    }
}

#[test]
fn an_undecided_probe_leaves_the_next_call_to_probe() {
    let mut world = World::opened();
    world.pass(6000);
    assert_eq!(world.call(Shown::Nothing), Ok(Kind::Probe));
    assert_eq!(world.enter(), Ok(Kind::Probe));
}

#[test]
fn a_forked_child_does_not_wait_for_its_parents_probe() {
    let mut world = World::opened();
    world.pass(5000);
    assert_eq!(world.enter(), Ok(Kind::Probe));
    if let Some(circuit) = world.circuits.0.get_mut(&server(1)) {
        circuit.probe = Some(Process::another());
    }
    assert_eq!(world.enter(), Ok(Kind::Probe));
}

#[test]
fn settings_take_effect_at_once() {
    let mut world = World::opened();
    let mut enter = |failures, cooldown| {
        let cooldown = Duration::from_secs(cooldown);
        let options = CircuitOptions { failures, cooldown };
        world.circuits.enter(&server(1), options, world.now)
    };
    assert!(enter(3, 5).is_err());
    assert_eq!(enter(4, 5), Ok(Kind::Doubted));
    assert_eq!(enter(0, 5), Ok(Kind::Closed));
    assert_eq!(enter(3, 0), Ok(Kind::Probe));
    // Without a circuit, failures are not counted.
    let off = CircuitOptions::default();
    let mut circuits = Circuits::default();
    for _ in 0..10 {
        let failed = Shown::Unreached("refused".to_owned());
        circuits.leave(&server(1), off, Kind::Closed, failed, world.now);
    }
    assert!(circuits.list(OPTIONS, world.now).is_empty());
}

#[test]
fn each_server_has_a_circuit_and_their_number_is_bounded() {
    let mut world = World::opened();
    assert_eq!(
        world.circuits.enter(&server(2), OPTIONS, world.now),
        Ok(Kind::Closed)
    );
    for port in 2..200 {
        world.pass(1);
        let failed = Shown::Unreached("refused".to_owned());
        let now = world.now;
        world
            .circuits
            .leave(&server(port), OPTIONS, Kind::Closed, failed, now);
    }
    let listed = world.circuits.list(OPTIONS, world.now);
    assert_eq!(listed.len(), MOST);
    assert!(listed.iter().any(|(address, _)| *address == server(199)));
    assert!(listed.iter().all(|(address, _)| *address != server(1)));
}

#[test]
fn a_call_that_ends_by_a_panic_ends_its_probe() {
    let address = server(1);
    let options = CircuitOptions {
        failures: 1,
        cooldown: Duration::ZERO,
    };
    enter(&address, options)
        .unwrap()
        .end(Shown::Unreached("refused".to_owned()));
    let probe = enter(&address, options).unwrap();
    assert!(!probe.may_repeat());
    assert!(enter(&address, options).is_err());
    drop(probe);
    enter(&address, options).unwrap().end(Shown::Reached);
    assert!(enter(&address, options).unwrap().may_repeat());
    assert!(unreached(options).is_empty());
}

#[test]
fn only_a_fair_wait_counts() {
    let [short, second, two, ten] = [200, 1000, 2000, 10_000].map(Duration::from_millis);
    let all = [
        (two, two),
        (short, short),
        (two, second),
        (short.mul_f64(0.99), short),
    ];
    assert!(
        all.iter()
            .all(|(given, whole)| Patience::of(*given, *whole) == Patience::Whole)
    );
    // A moment has passed before the server is asked.
    for given in [second, second.mul_f64(0.99), two] {
        assert_eq!(Patience::of(given, ten), Patience::Fair);
    }
    assert_eq!(Patience::of(short, two), Patience::Short);
    assert_eq!(Patience::of(Duration::ZERO, short), Patience::Short);
}

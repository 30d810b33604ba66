//! Changes a certificate while workers run.

use celery_testkit::{RedisOptions, ServerName};

use crate::busy::{CHATTY, at_work, kill_clients, says};
use crate::world::{Kind, World};

/// Makes the server show another certificate to new connections.
fn show(world: &mut World, name: ServerName) {
    let certificates = world.redis.certificates().unwrap();
    certificates.reissue(name).unwrap();
    let (certificate, key) = certificates.server();
    let paths = [certificate, key].map(|path| path.display().to_string());
    let [certificate, key] = &paths;
    let _ok: String = world.ask(&[
        "CONFIG",
        "SET",
        "tls-cert-file",
        certificate,
        "tls-key-file",
        key,
    ]);
    kill_clients(world);
}

#[test]
fn a_rotated_certificate_is_taken_and_a_wrong_one_refused() {
    let options = RedisOptions::new().aof().tls(ServerName::Right);
    let mut world = World::on("TLS certificate changed", options);
    let ca = world.redis.certificates().unwrap().ca();
    let url = world.redis.tls_url().unwrap();
    world.broker = format!("{url}?ssl_ca_certs={}", ca.display());
    let mut workers = vec![world.playground(&CHATTY)];
    at_work(&mut world);
    show(&mut world, ServerName::Right);
    world.one_more_soon(Kind::Noop);
    let wrong = [
        (ServerName::Expired, "expired"),
        (ServerName::OtherHost, "not valid for name"),
        (ServerName::SelfSigned, "UnknownIssuer"),
    ];
    for (name, why) in wrong {
        at_work(&mut world);
        let said = workers[0].process.log_len();
        show(&mut world, name);
        let id = world.post(Kind::Noop, 1).remove(0);
        // Each attempt is logged. The line `Cannot connect` is not, if a role is still without its
        // server from the time before.
        says(&mut workers, why, said);
        assert!(world.is_open(&id));
        show(&mut world, ServerName::Right);
        world.one_more_soon(Kind::Noop);
    }
    world.finish(1 + wrong.len(), workers);
}

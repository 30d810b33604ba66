//! The endpoint of a RabbitMQ from separate options.

use std::sync::Arc;

use super::EndpointBuilder;
use crate::amqp::{self, AmqpEndpoint};
use crate::endpoint::any::Endpoint;
use crate::endpoint::parts::host_name;
use crate::endpoint::{Address, TlsOptions};
use crate::error::ConfigError;

impl EndpointBuilder {
    /// Builds the endpoint of a host that is not a URL.
    pub(super) fn build_amqp(self) -> Result<Endpoint, ConfigError> {
        self.refuse_options_of_redis()?;
        if self.host.starts_with('/') {
            return Err(ConfigError::Contradiction {
                what: "RabbitMQ over a unix socket",
            });
        }
        let default_port = if self.tls.is_some() {
            amqp::DEFAULT_TLS_PORT
        } else {
            amqp::DEFAULT_PORT
        };
        let address = Address::Tcp {
            host: host_name(&self.host)?,
            port: self.port.unwrap_or(default_port),
        };
        let vhost = amqp::vhost(self.vhost.as_deref().unwrap_or_default())?;
        let mut endpoint = AmqpEndpoint::of(address, self.tls, vhost);
        if let Some(login) = self.login {
            endpoint.username = login;
        }
        if let Some(password) = self.password {
            endpoint.password = password;
        }
        Ok(endpoint.into())
    }

    /// Builds the endpoint of a URL. Other options must agree with it. The exception: TLS options
    /// may be added to a URL that uses TLS and has no TLS options.
    pub(super) fn beside_amqp(self, endpoint: Arc<AmqpEndpoint>) -> Result<Endpoint, ConfigError> {
        self.refuse_options_of_redis()?;
        let mut endpoint = Arc::unwrap_or_clone(endpoint);
        for mut other in std::mem::take(&mut endpoint.others) {
            self.agree(&mut other)?;
            endpoint.others.push(other);
        }
        self.agree(&mut endpoint)?;
        Ok(endpoint.into())
    }

    /// Compares these options with those of one URL, and adds TLS options to it.
    fn agree(&self, endpoint: &mut AmqpEndpoint) -> Result<(), ConfigError> {
        let differs = |what| Err(ConfigError::Contradiction { what });
        if let (Some(port), Address::Tcp { port: of_url, .. }) = (self.port, &endpoint.address)
            && port != *of_url
        {
            return differs("a port beside a URL with another one");
        }
        if let Some(login) = &self.login
            && *login != endpoint.username
        {
            return differs("a login beside a URL with another one");
        }
        if let Some(password) = &self.password
            && *password != endpoint.password
        {
            return differs("a password beside a URL with another one");
        }
        if let Some(vhost) = &self.vhost
            && amqp::vhost(vhost)? != endpoint.vhost
        {
            return differs("a virtual host beside a URL with another one");
        }
        if let Some(tls) = &self.tls {
            match &mut endpoint.tls {
                None => return differs("TLS options beside a URL without TLS"),
                Some(of_url) if *of_url == TlsOptions::default() => *of_url = tls.clone(),
                Some(of_url) if *tls != TlsOptions::default() && tls != of_url => {
                    return differs("TLS options beside a URL with others");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Refuses options that only Redis has.
    fn refuse_options_of_redis(&self) -> Result<(), ConfigError> {
        let what = if !self.key_prefix.is_empty() {
            "a key prefix, which only Redis has, beside RabbitMQ"
        } else if self.priority_steps.is_some() {
            "priority_steps, which only Redis has, beside RabbitMQ"
        } else if self.separator.is_some() {
            "sep, which only Redis has, beside RabbitMQ"
        } else {
            return Ok(());
        };
        Err(ConfigError::Contradiction { what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(host: &str) -> EndpointBuilder {
        Endpoint::builder().host(host).rabbitmq()
    }

    fn rabbitmq(builder: EndpointBuilder) -> Arc<AmqpEndpoint> {
        match builder.build().unwrap() {
            Endpoint::Amqp(rabbitmq) => rabbitmq,
            Endpoint::Redis(redis) => panic!("{redis} is not a RabbitMQ"),
        }
    }

    #[test]
    fn absent_options_are_those_of_a_url() {
        let url = |url| Endpoint::from_url(url).unwrap();
        let empty = build("h").login("").password("").vhost("");
        assert_eq!(empty.build().unwrap(), url("amqp://h"));
        assert_eq!(build("h").vhost("/").build().unwrap(), url("amqp://h//"));
        assert_eq!(build("::1").tls().build().unwrap(), url("amqps://[::1]"));
        let all = build("h").port(7).login("u").password("p/").vhost("/v");
        assert_eq!(all.build().unwrap(), url("amqp://u:p%2F@h:7/%2Fv"));
        // The kind of a URL is its scheme.
        assert_eq!(
            build("redis://h").build().unwrap(),
            Endpoint::from_url("redis://h").unwrap()
        );
    }

    #[test]
    fn other_options_must_not_contradict_a_url() {
        let url = "amqp://u:p@h:7000/v";
        let equal = build(url).port(7000).login("u").password("p").vhost("v");
        assert_eq!(equal.build().unwrap(), Endpoint::from_url(url).unwrap());
        assert!(build("amqp://h//").vhost("/").build().is_ok());
        assert!(build(url).port(7001).build().is_err());
        assert!(build(url).login("w").build().is_err());
        assert!(build(url).password("q").build().is_err());
        assert!(build(url).vhost("/v").build().is_err());
        assert!(build(url).tls().build().is_err());
        let builder = build("amqps://h").tls_option("cafile", "/ca.pem").unwrap();
        let ca = rabbitmq(builder).tls.clone().and_then(|tls| tls.ca_file);
        assert_eq!(ca.as_deref(), Some(std::path::Path::new("/ca.pem")));
        let list = build("amqps://a;amqps://b").tls_option("cafile", "/ca.pem");
        let of_last = rabbitmq(list.unwrap()).others[0].tls.clone();
        assert!(of_last.is_some_and(|tls| tls.ca_file.is_some()));
        assert!(build("amqps://a;amqp://b").tls().build().is_err());
        assert!(build("amqp://a;amqp://u@b").login("guest").build().is_err());
        let other = build("amqps://h?ssl_ca_certs=/a.pem").tls_option("cafile", "/ca.pem");
        assert!(other.unwrap().build().is_err());
    }

    #[test]
    fn what_only_redis_has_is_refused() {
        for builder in [
            build("h").key_prefix("p"),
            build("h").priority_steps("0,9".parse().unwrap()),
            build("amqp://h").separator("-".parse().unwrap()),
            build("/run/rabbitmq.sock"),
        ] {
            let error = builder.clone().build().unwrap_err();
            assert!(error.to_string().contains("RabbitMQ"), "{error}");
        }
        assert!(build("a b").build().is_err());
        assert!(build("h").vhost("v".repeat(256)).build().is_err());
        assert!(build("h").vhost("a\0").build().is_err());
    }
}

//! Putting the configuration file into force while the server runs, whoever asks: SIGHUP or the operator's
//! `mayfly config`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::reach::live;
use super::{issuer, operators};
use crate::audit::Actor;
use crate::audit::configuration::How;
use crate::authority::authorities::Authorities;
use crate::config::settings::{Server, Settings};
use crate::config::{Configuration, Problem, Texts};
use crate::http::admin::operators::Operators;
use crate::http::{Applied, Check, NotApplied, Reconfigure};
use crate::service::{self, Service};
use crate::storage::BoxFuture;

/// Reads the configuration again, with whatever the command line puts over the file.
pub type Reload = Box<dyn Fn() -> Result<Configuration, Vec<Problem>> + Send + Sync>;

/// For the one before to end, and for files and keys to be loaded: together less than whoever asks waits.
const PATIENCE: Duration = Duration::from_secs(25);

/// What may be put into force.
struct Loaded {
    configuration: Configuration,
    authorities: Authorities,
    /// What of it needs a restart.
    restart: Vec<String>,
}

/// One for each running server.
pub(super) struct Reconfigurer {
    service: Arc<Service>,
    /// What this process started with.
    running: Settings,
    operators: Option<Arc<Operators>>,
    reload: Reload,
    address: SocketAddr,
    /// Whoever puts a configuration into force; the next waits.
    turn: Mutex<()>,
}

impl Reconfigurer {
    pub(super) fn new(
        service: Arc<Service>,
        (running, operators): (Settings, Option<Arc<Operators>>),
        reload: Reload,
        address: SocketAddr,
    ) -> Arc<Self> {
        Arc::new(Self { service, running, operators, reload, address, turn: Mutex::new(()) })
    }

    /// SIGHUP, which has nobody to answer but the log.
    pub(super) async fn on_signal(self: &Arc<Self>) {
        match self.put_into_force((How::Signal, None), Box::new(|_| Ok(()))).await {
            Ok(applied) => {
                for section in &applied.restart {
                    tracing::warn!(
                        section,
                        "SIGHUP: this section has changed; it takes effect at the next start"
                    );
                }
                tracing::info!(
                    version = applied.version,
                    "SIGHUP: authorities, provisioners, limits, validation rules and receivers reloaded"
                );
            }
            Err(NotApplied::Invalid(problems)) => {
                for problem in problems {
                    tracing::error!(problem, "SIGHUP: the configuration is not valid");
                }
                tracing::error!("SIGHUP: nothing was changed; `mayfly check-config` tells more");
            }
            Err(NotApplied::NotYet(error)) => tracing::error!(%error, "SIGHUP: nothing was changed"),
            Err(NotApplied::Failed(error)) => tracing::error!(%error, "SIGHUP: nothing was changed"),
        }
    }

    /// Files are read, and keys opened.
    fn load(&self) -> Result<Loaded, NotApplied> {
        let configuration = (self.reload)()
            .map_err(|problems| NotApplied::Invalid(problems.iter().map(ToString::to_string).collect()))?;
        let authorities = issuer::load_all(&configuration.settings, self.service.now())
            .map_err(|problem| NotApplied::Invalid(vec![problem.to_string()]))?;
        // By the names of this process, too: others count from the next start on.
        let names = &self.running.server.dns_names;
        match issuer::judge_own(&configuration.settings, &authorities, names, self.service.now()) {
            Ok(None) => {}
            Ok(Some(note)) => tracing::warn!(%note, "a policy that is tried"),
            Err(problem) => return Err(NotApplied::Invalid(vec![problem.to_string()])),
        }
        let operators = configuration.settings.admin.listener.as_ref().map(operators::load).transpose();
        let operators = operators.map_err(|problem| NotApplied::Invalid(vec![problem.to_string()]))?;
        let restart = changed((&configuration.settings, operators), (&self.running, &self.operators));
        Ok(Loaded { configuration, authorities, restart })
    }

    /// What is called a rollback is one: the files are what that version has.
    async fn check_version(&self, texts: &Texts, how: &How) -> Result<(), NotApplied> {
        let How::Rollback(version) = how else { return Ok(()) };
        let wrong = |what: &str| Err(NotApplied::Invalid(vec![format!("rollback_to: {what}")]));
        match self.service.configuration(*version).await? {
            None => wrong(&format!("there is no version {version}, or none any more")),
            Some((_, kept)) if kept.text == texts.file && kept.files == texts.policies => Ok(()),
            Some(_) => wrong(&format!(
                "the file, or a policy that it names, is not what version {version} has; to put it into force \
                 as it is, apply it"
            )),
        }
    }

    async fn put_into_force(
        self: &Arc<Self>,
        (how, by): (How, Option<Actor>),
        check: Check,
    ) -> Result<Applied, NotApplied> {
        let busy = |_| NotApplied::Failed(service::Error::Busy("a configuration is still being loaded"));
        let _turn = tokio::time::timeout(PATIENCE, self.turn.lock()).await.map_err(busy)?;
        let this = self.clone();
        // Tokens and key services take their time, which requests shall not wait for.
        // One that hangs is left to itself, and what comes of it to nobody.
        let loading = tokio::task::spawn_blocking(move || this.load());
        let loaded = tokio::time::timeout(PATIENCE, loading).await.map_err(|_| {
            let what = "a key does not answer: see to its token or key service, or take it out of the file";
            NotApplied::Invalid(vec![what.to_owned()])
        })?;
        let failed =
            |error: &dyn std::fmt::Display| service::Error::Internal(format!("the loading task: {error}"));
        let Loaded { configuration: Configuration { settings, texts }, authorities, restart } =
            loaded.map_err(|error| failed(&error))??;
        self.check_version(&texts, &how).await?;
        check(&texts.file)?;
        let live = live(&settings, authorities, self.address)
            .map_err(|error| NotApplied::Failed(service::Error::Internal(error.to_string())))?;
        // Recorded first: what was in force is known to the record, whatever happens in between.
        let version = self.service.keep_configuration(texts.file, texts.policies, how, by.as_ref()).await?;
        live.kept_as(version);
        self.service.reload(live);
        if let Err(error) = self.service.note_issuers().await {
            // In the background it is tried on.
            tracing::warn!(%error, "a change of issuers is not noted yet");
        }
        Ok(Applied { version, restart })
    }
}

impl Reconfigure for Reconfigurer {
    fn reconfigure(
        self: Arc<Self>,
        how: How,
        by: Option<Actor>,
        check: Check,
    ) -> BoxFuture<'static, Result<Applied, NotApplied>> {
        // A task of its own: who asked may go away between the record and the change.
        let task = tokio::spawn(async move {
            let applied = self.put_into_force((how, by), check).await?;
            tracing::info!(version = applied.version, %how, "a configuration was put into force");
            Ok(applied)
        });
        Box::pin(async move {
            task.await.unwrap_or_else(|error| Err(service::Error::Internal(error.to_string()).into()))
        })
    }
}

/// The sections, and contents of the files that they name, that a running process does not take over.
fn changed(
    (settings, operators): (&Settings, Option<Arc<Operators>>),
    (running, operating): (&Settings, &Option<Arc<Operators>>),
) -> Vec<String> {
    // Which authority issues the listener's certificate is asked whenever one is issued.
    let authority = running.server.authority.clone();
    let server = Server { authority, ..settings.server.clone() };
    let fixed = [
        ("[server]", server == running.server),
        ("[store]", settings.store == running.store),
        ("[limits] network_connections", settings.network_connections == running.network_connections),
        ("[log]", settings.log == running.log),
        ("[admin]", settings.admin == running.admin),
        ("[admin] client_ca", settings.admin != running.admin || trust_alike(&operators, operating)),
        ("[metrics]", settings.metrics == running.metrics),
        ("[traces]", settings.traces == running.traces),
    ];
    fixed.iter().filter(|(_, same)| !same).map(|(section, _)| (*section).to_owned()).collect()
}

fn trust_alike(one: &Option<Arc<Operators>>, other: &Option<Arc<Operators>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.trust_as(other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

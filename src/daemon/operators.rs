//! Who may come through the admin listener, from the files that `[admin]` names.

use std::sync::Arc;

use crate::config::Problem;
use crate::config::settings::AdminListener;
use crate::http::admin::operators::Operators;
use crate::x509::pem;

/// Reads the CAs of `client_ca`; `mayfly check-config` checks by the same function.
pub fn load(listener: &AdminListener) -> Result<Arc<Operators>, Problem> {
    let problem = |message: String| Problem { line: None, key: "admin.client_ca".to_owned(), message };
    let cas = match &listener.client_ca {
        None => Vec::new(),
        Some(path) => {
            let named = |what: &dyn std::fmt::Display| problem(format!("{}: {what}", path.display()));
            let text = std::fs::read(path).map_err(|error| named(&error))?;
            pem::parse_certificates(&text)
                .ok_or_else(|| named(&"holds no PEM certificate, or a broken one"))?
        }
    };
    Operators::new(listener.clients.clone(), &cas).map(Arc::new).map_err(problem)
}

//! Who may come in: accounts with passwords, and the operator.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use outrigger_protocol::id::{OrganizationId, UserId};
use outrigger_secrets::SecretString;
use outrigger_store::Compare;
use tokio::sync::Semaphore;

use crate::catalog::{Catalog, Row, random};
use crate::error::{CatalogError, Unauthenticated};
use crate::keys;
use crate::model::{Actor, AuditAction, Origin, Role, Subject, User};
use crate::mutation::{Decided, Draft};
use crate::record::{Address, OperatorRow, OrganizationRow, UserRow};
use crate::tokens::{self, SESSION_TTL};
use crate::validate::{Problems, normalize_email};

/// What registering takes.
#[derive(Debug, Clone)]
pub struct NewAccount {
    pub email: String,
    pub password: SecretString,
    /// How the person is called; their e-mail address when empty.
    pub name: String,
}

/// The e-mail address and name of the operator's user. Nobody can register it or sign in with it: it has no domain
/// and no password.
const OPERATOR: &str = "operator";

impl Catalog {
    /// Makes an account with an organisation of its own, and a token for it.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] when the e-mail address has an account.
    pub async fn register(&self, new: NewAccount, origin: Origin) -> Result<(User, SecretString), CatalogError> {
        let (email, name) = checked(&new)?;
        let taken = || CatalogError::conflict("an account with this e-mail address exists");
        if self.row::<Address>(keys::email(&email)).await?.is_some() {
            return Err(taken());
        }
        let password = Some(self.hashing().hash(new.password).await?);
        let now = self.now();
        let (organization, id) = (OrganizationId::new(now, random()), UserId::new(now, random()));
        let user = User { id, organization, email, name, role: Role::Owner, created_at: now };
        let mut draft = Draft::new(now, organization, id.to_string(), origin);
        Self::found_organization(&mut draft, &user, password);
        draft.when(Compare::Absent(keys::email(&user.email)));
        draft.put(keys::email(&user.email), &Address { organization, user: id });
        let token = tokens::issue(&mut draft, organization, Some(id), Some(SESSION_TTL));
        draft.audit(AuditAction::Create, organization, "registered");
        if self.commit(draft).await? { Ok((user, token)) } else { Err(taken()) }
    }

    /// Makes an account for somebody in the actor's organisation. Owner.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] when the e-mail address has an account.
    pub async fn add_user(&self, actor: &Actor, new: NewAccount, role: Role) -> Result<User, CatalogError> {
        actor.require(Role::Owner)?;
        let (email, name) = checked(&new)?;
        let taken = || CatalogError::conflict("an account with this e-mail address exists");
        if self.row::<Address>(keys::email(&email)).await?.is_some() {
            return Err(taken());
        }
        let password = Some(self.hashing().hash(new.password).await?);
        let (now, organization) = (self.now(), actor.organization);
        let user = User { id: UserId::new(now, random()), organization, email, name, role, created_at: now };
        let mut draft = self.draft(actor);
        draft.when(Compare::Absent(keys::email(&user.email)));
        draft.put(keys::email(&user.email), &Address { organization, user: user.id });
        draft.put(keys::user(organization, user.id), &UserRow { user: user.clone(), password });
        draft.audit(AuditAction::Create, user.id, &format!("user with the role {}", role.name()));
        if self.commit(draft).await? { Ok(user) } else { Err(taken()) }
    }

    /// A new organisation and its owner.
    fn found_organization(draft: &mut Draft, owner: &User, password: Option<String>) {
        let organization = owner.organization;
        draft.mark(keys::organization_entry(organization));
        let row = OrganizationRow { name: owner.name.clone(), created_at: owner.created_at };
        draft.put(keys::organization(organization), &row);
        draft.put(keys::user(organization, owner.id), &UserRow { user: owner.clone(), password });
    }

    /// A token for whoever knows the password.
    ///
    /// # Errors
    /// [`Unauthenticated::InvalidCredentials`], after the same work, whether the address or the password is wrong.
    pub async fn login(
        &self,
        email: &str,
        password: &SecretString,
        origin: Origin,
    ) -> Result<(User, SecretString), CatalogError> {
        let refused = CatalogError::Unauthenticated(Unauthenticated::InvalidCredentials);
        let mut problems = Problems::default();
        problems.require(!email.trim().is_empty(), "email", || "is required".to_owned());
        problems.require(!password.is_empty(), "password", || "is required".to_owned());
        problems.into_result()?;

        let known = self.user_by_email(&normalize_email(email)).await?;
        let hash = known.as_ref().and_then(|row| row.value.password.clone());
        let matches = self.hashing().verify(password.clone(), hash).await?;
        let Some(Row { value: UserRow { user, .. }, .. }) = known else { return Err(refused) };
        let mut draft = Draft::new(self.now(), user.organization, user.id.to_string(), origin);
        if !matches {
            draft.audit(AuditAction::Failure, user.id, "signing in with a wrong password");
            self.commit(draft).await?;
            return Err(refused);
        }
        let token = tokens::issue(&mut draft, user.organization, Some(user.id), Some(SESSION_TTL));
        draft.audit(AuditAction::Login, user.id, "signed in");
        self.commit(draft).await?;
        Ok((user, token))
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<Row<UserRow>>, CatalogError> {
        // Longer than any address, longer than any key.
        if email.len() > 254 {
            return Ok(None);
        }
        match self.row::<Address>(keys::email(email)).await? {
            Some(Row { value: Address { organization, user }, .. }) => self.row(keys::user(organization, user)).await,
            None => Ok(None),
        }
    }

    /// The account behind an actor.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the control plane itself, which has none.
    pub async fn me(&self, actor: &Actor) -> Result<User, CatalogError> {
        const WHAT: &str = "user";
        let (organization, id) = match actor.subject {
            Subject::User(id) => (actor.organization, id),
            Subject::Operator => {
                let row = self.expect_row::<OperatorRow>(keys::operator(), WHAT).await?;
                (row.value.organization, row.value.user)
            }
            Subject::System => return Err(CatalogError::NotFound { what: WHAT }),
        };
        Ok(self.expect_row::<UserRow>(keys::user(organization, id), WHAT).await?.value.user)
    }

    /// Makes the operator's organisation on the first start. With `token` (a setting), that is the operator's token
    /// from now on, whatever it was before. Without, one is made on the first start and returned: it is never seen
    /// again. For the control plane's own start.
    ///
    /// # Errors
    /// [`CatalogError::Validation`] when `token` is too short to be a secret.
    pub async fn ensure_operator(&self, token: Option<SecretString>) -> Result<Option<SecretString>, CatalogError> {
        if let Some(token) = &token {
            tokens::check_configured(token)?;
        }
        let present = self.row::<OperatorRow>(keys::operator()).await?;
        match (present, token) {
            (Some(_), None) => Ok(None),
            (Some(row), Some(token)) => self.replace_operator_token(row, &token).await.map(|()| None),
            (None, token) => self.found_operator(token).await,
        }
    }

    async fn found_operator(&self, token: Option<SecretString>) -> Result<Option<SecretString>, CatalogError> {
        let now = self.now();
        let (organization, id) = (OrganizationId::new(now, random()), UserId::new(now, random()));
        let (email, name) = (OPERATOR.to_owned(), OPERATOR.to_owned());
        let user = User { id, organization, email, name, role: Role::Owner, created_at: now };
        let mut draft = Draft::new(now, organization, Subject::System.to_string(), Origin::default());
        Self::found_organization(&mut draft, &user, None);
        let generated = token.is_none();
        let token = token.unwrap_or_else(|| tokens::text(now).1);
        draft.when(Compare::Absent(keys::operator()));
        draft.put(keys::operator(), &OperatorRow { organization, user: id, token_hash: tokens::hash(token.expose()) });
        draft.audit(AuditAction::Create, organization, "made the operator's organisation");
        // When another process was faster, it has told its token.
        let founded = self.commit(draft).await?;
        Ok((founded && generated).then_some(token))
    }

    async fn replace_operator_token(&self, row: Row<OperatorRow>, token: &SecretString) -> Result<(), CatalogError> {
        let token_hash = tokens::hash(token.expose());
        let OperatorRow { organization, user, .. } = row.value;
        let first = self.draft(&Actor::system(organization));
        self.mutate_afresh(first, async |mut draft| {
            let row = self.expect_row::<OperatorRow>(keys::operator(), OPERATOR).await?;
            if row.value.token_hash == token_hash {
                return Ok(Decided::Already(()));
            }
            draft.replace(&row, &OperatorRow { organization, user, token_hash });
            draft.audit(AuditAction::Update, OPERATOR, "replaced the operator's token by a configured one");
            draft.then(())
        })
        .await
    }
}

/// Argon2id with the first of OWASP's equivalent settings (Password Storage Cheat Sheet): 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at the same time: each takes a core and [`MEMORY_KIB`].
const CONCURRENT: usize = 4;
/// Hashes that wait for their turn. Beyond, callers are sent away: a second's worth of work is enough of a queue.
const WAITING: usize = 32;

/// Password hashing off the asynchronous threads, a bounded amount of it at a time.
#[derive(Debug, Clone)]
pub(crate) struct Hashing {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Default for Hashing {
    fn default() -> Self {
        let admitted = Arc::new(Semaphore::new(CONCURRENT + WAITING));
        Self { admitted, running: Arc::new(Semaphore::new(CONCURRENT)) }
    }
}

impl Hashing {
    /// A PHC string.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, CatalogError> {
        self.run(move || hash(&password)).await
    }

    /// Whether `password` is that of `hash`. Without a hash it is not, and that takes as long to say.
    pub(crate) async fn verify(&self, password: SecretString, known: Option<String>) -> Result<bool, CatalogError> {
        self.run(move || match known {
            None => hash(&password).map(|_| false),
            Some(known) => {
                let parsed = PasswordHash::new(&known).map_err(failed)?;
                Ok(argon2()?.verify_password(password.expose().as_bytes(), &parsed).is_ok())
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| CatalogError::Overloaded)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(failed)?;
        // The permits go with the work: a caller that gives up does not make room for another hash.
        let hashed = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((running, admitted));
            result
        });
        hashed.await.map_err(failed)?
    }
}

fn argon2() -> Result<Argon2<'static>, CatalogError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &SecretString) -> Result<String, CatalogError> {
    let hash = argon2()?.hash_password_with_salt(password.expose().as_bytes(), &random::<16>()).map_err(failed)?;
    Ok(hash.to_string())
}

fn failed(error: impl std::fmt::Display) -> CatalogError {
    CatalogError::Hashing { reason: error.to_string() }
}
/// The e-mail address and the name of a new account.
fn checked(new: &NewAccount) -> Result<(String, String), CatalogError> {
    let email = normalize_email(&new.email);
    let name = if new.name.trim().is_empty() { email.clone() } else { new.name.trim().to_owned() };
    let mut problems = Problems::default();
    problems.email(&email);
    problems.password(new.password.expose());
    if name != email {
        problems.name("name", &name);
    }
    problems.into_result()?;
    Ok((email, name))
}

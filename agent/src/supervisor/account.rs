//! The user and the groups that a program runs as.
//!
//! Read from `/etc/passwd` and `/etc/group` directly: a static binary has no name service switch, and a sandbox rarely
//! has more than these two files.

use std::path::Path;

use rustix::fs::{Gid, Uid};

/// Larger than any sane account file; a bound, not an expectation.
const ACCOUNT_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// `NGROUPS_MAX` of the kernel (limits.h).
const SUPPLEMENTARY_GROUPS: usize = 65_536;

/// Who the program is. Set in this order: groups, gid, uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub uid: Uid,
    pub gid: Gid,
    /// Supplementary groups, the primary one included.
    pub groups: Vec<Gid>,
    /// Name, home and shell, when the user has an entry; they replace what the program would inherit.
    pub login: Option<Login>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub name: String,
    pub home: String,
    pub shell: String,
}

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("user `{name}` is not in /etc/passwd (--user)")]
    UnknownUser { name: String },
    #[error("group `{name}` is not in /etc/group (--group)")]
    UnknownGroup { name: String },
    #[error("user {uid} is not in /etc/passwd, so its group is not known: give --group too")]
    NoGroup { uid: u32 },
    #[error("cannot read {path}")]
    Read {
        path: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("only root can run a program as another user or group (--user, --group)")]
    NotRoot,
}

impl Account {
    /// The account that `--user` and `--group` name; `None` when neither was given.
    ///
    /// # Errors
    /// A name is unknown, a file cannot be read, or this process may not change its user.
    pub fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Option<Self>, AccountError> {
        if user.is_none() && group.is_none() {
            return Ok(None);
        }
        if !rustix::process::geteuid().is_root() {
            return Err(AccountError::NotRoot);
        }
        let users = read("/etc/passwd")?;
        let groups = read("/etc/group")?;
        Self::look_up(user, group, &users, &groups).map(Some)
    }

    fn look_up(user: Option<&str>, group: Option<&str>, users: &str, groups: &str) -> Result<Self, AccountError> {
        let asked_group = group.map(|name| group_id(name, groups)).transpose()?;
        let Some(user) = user else {
            let gid = asked_group.unwrap_or_else(rustix::process::getegid);
            return Ok(Self { uid: rustix::process::geteuid(), gid, groups: vec![gid], login: None });
        };
        let entry = users.lines().filter_map(User::parse).find(|entry| entry.is(user));
        let (uid, gid, login) = match (entry, user.parse::<u32>()) {
            (Some(entry), _) => (entry.uid, asked_group.unwrap_or(Gid::from_raw(entry.gid)), Some(entry.login())),
            (None, Ok(uid)) => (uid, asked_group.ok_or(AccountError::NoGroup { uid })?, None),
            (None, Err(_)) => return Err(AccountError::UnknownUser { name: user.to_owned() }),
        };
        let mut memberships = vec![gid];
        if let Some(login) = &login {
            let further = groups.lines().filter_map(Group::parse).filter(|group| group.has(&login.name));
            memberships.extend(further.map(|group| Gid::from_raw(group.gid)).filter(|further| *further != gid));
            memberships.truncate(SUPPLEMENTARY_GROUPS);
        }
        Ok(Self { uid: Uid::from_raw(uid), gid, groups: memberships, login })
    }
}

fn read(path: &'static str) -> Result<String, AccountError> {
    read_bounded(Path::new(path)).map_err(|source| AccountError::Read { path, source })
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(ACCOUNT_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn group_id(name: &str, groups: &str) -> Result<Gid, AccountError> {
    groups
        .lines()
        .filter_map(Group::parse)
        .find(|group| group.name == name)
        .map(|group| group.gid)
        .or_else(|| name.parse().ok())
        .map(Gid::from_raw)
        .ok_or_else(|| AccountError::UnknownGroup { name: name.to_owned() })
}

/// A line of passwd(5): name, password, uid, gid, comment, home, shell.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

impl<'a> User<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (_comment, home, shell) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { name, uid, gid, home, shell })
    }

    fn is(&self, user: &str) -> bool {
        self.name == user || user.parse() == Ok(self.uid)
    }

    fn login(&self) -> Login {
        Login { name: self.name.to_owned(), home: self.home.to_owned(), shell: self.shell.to_owned() }
    }
}

/// A line of group(5): name, password, gid, members.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(Self { name, gid: fields.next()?.parse().ok()?, members: fields.next()? })
    }

    fn has(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nbroken line\napp:x:1001:2001:App,,,:/srv/app:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\napp:x:2001:\nvideo:x:44:app,other\naudio:x:29:other\n";

    fn look_up(user: Option<&str>, group: Option<&str>) -> Result<Account, AccountError> {
        Account::look_up(user, group, USERS, GROUPS)
    }

    #[test]
    fn a_user_brings_its_groups_and_its_home() {
        let account = look_up(Some("app"), None).expect("known");
        assert_eq!((account.uid.as_raw(), account.gid.as_raw()), (1001, 2001));
        assert_eq!(account.groups.iter().map(|gid| gid.as_raw()).collect::<Vec<_>>(), [2001, 44]);
        assert_eq!(account.login.expect("an entry").home, "/srv/app");
        assert_eq!(look_up(Some("1001"), None).expect("known").groups.len(), 2);
    }

    #[test]
    fn a_group_replaces_the_primary_one() {
        let account = look_up(Some("app"), Some("video")).expect("known");
        assert_eq!(account.gid.as_raw(), 44);
        assert_eq!(account.groups.len(), 1, "video is named once");
        assert_eq!(look_up(Some("app"), Some("77")).expect("a number").gid.as_raw(), 77);
    }

    #[test]
    fn who_is_not_known_is_refused() {
        assert!(matches!(look_up(Some("nobody-here"), None), Err(AccountError::UnknownUser { .. })));
        assert!(matches!(look_up(Some("app"), Some("nope")), Err(AccountError::UnknownGroup { .. })));
        assert!(matches!(look_up(Some("4242"), None), Err(AccountError::NoGroup { uid: 4242 })));
        assert_eq!(look_up(Some("4242"), Some("app")).expect("both given").groups.len(), 1);
    }
}

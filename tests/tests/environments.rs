//! `outrigger env` against a real control plane: on pipes, in an editor, and on a terminal.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{OnTerminal, Server, ServerOptions, Workplace, binary};
use rustix::termios::LocalModes;
use serde_json::{Value, json};

const CANARY: &str = "canary-5b1e-of-the-token";

struct Fixture {
    server: Server,
    workplace: Workplace,
    token: String,
}

impl Fixture {
    /// A control plane with a project `shop`, whose production has `HOST`, `PORT` and the secret `TOKEN`.
    async fn new() -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &ServerOptions::default()).await?;
        let token = std::fs::read_to_string(workplace.data().join("operator-token"))?.trim().to_owned();
        let fixture = Self { server, workplace, token };
        fixture.server.api().post("/api/projects", json!({ "name": "shop" })).await?;
        fixture.told(&["create", "main"])?;
        fixture.told(&["set", "HOST=db", "PORT=5432"])?;
        fixture.told_with(&["set", "TOKEN", "--secret"], CANARY)?;
        Ok(fixture)
    }

    fn prepare(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.arg("env").args(arguments);
        command.env("OUTRIGGER_URL", self.server.api().base()).env("OUTRIGGER_TOKEN", &self.token);
        command
            .env("OUTRIGGER_PROJECT", "shop")
            .env("HOME", self.workplace.path())
            .env_remove("VISUAL")
            .env_remove("EDITOR");
        command
    }

    fn run(&self, arguments: &[&str], input: &str, editor: Option<&Path>) -> Result<Output> {
        let mut command = self.prepare(Command::new(binary("outrigger")), arguments);
        command.envs(editor.map(|editor| ("EDITOR", editor)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // One that reads no input may have ended: what it says of that is what counts.
        let _ = child.stdin.take().context("standard input is piped")?.write_all(input.as_bytes());
        Ok(child.wait_with_output()?)
    }

    fn told(&self, arguments: &[&str]) -> Result<String> {
        self.told_with(arguments, "")
    }

    /// The standard output of a command that does well.
    fn told_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.run(arguments, input, None)?;
        ensure!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// The standard error of a command that fails.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments, "", None)?;
        ensure!(output.status.code() == Some(1), "{arguments:?}: {}", text(&output.stdout));
        Ok(text(&output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.told(&[arguments, &["--output", "json"]].concat())?)?)
    }

    fn on_terminal(&self, arguments: &[&str], editor: Option<&Path>) -> Result<OnTerminal> {
        let mut command = self.prepare(OnTerminal::in_session(&binary("outrigger")), arguments);
        command.envs(editor.map(|editor| ("EDITOR", editor)));
        OnTerminal::start(command)
    }

    /// An editor that does what a script says with the file `$1`, and notes down where it was and who may read it.
    fn editor(&self, script: &str) -> Result<PathBuf> {
        let path = self.workplace.path().join("editor");
        let seen = self.seen();
        let text = format!(
            "#!/bin/sh\necho \"$1\" >{0}\nstat -c '%a %n' \"$1\" \"$(dirname \"$1\")\" >>{0}\n\
             stat -f -c %T \"$1\" >>{0}\n{script}\n",
            seen.display()
        );
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    fn seen(&self) -> PathBuf {
        self.workplace.path().join("seen")
    }

    fn generation(&self) -> Result<u64> {
        self.json(&["history"])?[0]["generation"].as_u64().context("a generation")
    }

    fn value(&self, key: &str) -> Result<String> {
        Ok(self.told(&["reveal", key])?.trim_end_matches('\n').to_owned())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn echoes(terminal: &OnTerminal) -> Result<bool> {
    Ok(terminal.modes()?.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG))
}

#[tokio::test]
async fn values_come_from_arguments_pipes_and_files() -> Result<()> {
    let fixture = Fixture::new().await?;
    assert_eq!(fixture.value("TOKEN")?, CANARY);
    fixture.told_with(&["set", "TOKEN"], "from echo\n")?;
    assert_eq!(fixture.value("TOKEN")?, "from echo", "the end of the line is echo's");
    let pem = "-----BEGIN KEY-----\nMIIE\n-----END KEY-----\n";
    let file = fixture.workplace.path().join("key.pem");
    std::fs::write(&file, pem)?;
    fixture.told(&[
        "set",
        "PEM",
        "--secret",
        "--file",
        &file.display().to_string(),
        "--description",
        "of the proxy",
    ])?;
    assert_eq!(fixture.told(&["reveal", "PEM"])?, format!("{pem}\n"), "byte for byte");
    let listed = fixture.json(&["list"])?;
    let of = |key: &str| listed.as_array().into_iter().flatten().find(|one| one["key"] == key).cloned();
    let pem = of("PEM").context("it is listed")?;
    assert_eq!(
        (&pem["description"], &pem["masked"], &pem["variableType"]),
        (&json!("of the proxy"), &json!(true), &json!("secret"))
    );
    assert_eq!(of("TOKEN").context("it is listed")?["isEncrypted"], true, "a secret stays one");

    assert!(fixture.refused(&["set", "A", "B"])?.contains("A and B"));
    assert!(fixture.refused(&["set", "A"])?.contains("standard input is empty"));
    assert!(fixture.refused(&["set", "A=1", "--file", "x"])?.contains("has a value already"));
    assert!(fixture.refused(&["set", "HOST=x", "--if-match", "1"])?.contains("generation 4"));
    assert_eq!(fixture.generation()?, 4);
    Ok(())
}

#[tokio::test]
async fn a_value_is_asked_for_without_an_echo() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut terminal = fixture.on_terminal(&["set", "TOKEN", "--secret"], None)?;
    terminal.shows("Value of TOKEN: ").await?;
    assert!(!echoes(&terminal)?);
    terminal.type_in("wrong\x15typed-in-seé\x7fcret\r")?;
    assert_eq!(terminal.exit_code().await?, Some(0), "{:?}", terminal.shown());
    assert!(echoes(&terminal)?, "as it was");
    assert!(!terminal.shown().contains("typed-in") && !terminal.shown().contains("wrong"), "{:?}", terminal.shown());
    assert_eq!(fixture.value("TOKEN")?, "typed-in-secret");

    let mut terminal = fixture.on_terminal(&["set", "TOKEN"], None)?;
    terminal.shows("Value of TOKEN: ").await?;
    terminal.type_in("half\x03")?;
    assert_eq!(terminal.exit_code().await?, Some(1), "{:?}", terminal.shown());
    // What it has said last may be read a moment after its end is known.
    terminal.shows("interrupted").await?;
    assert!(echoes(&terminal)?, "as it was");

    let mut terminal = fixture.on_terminal(&["set", "TOKEN"], None)?;
    terminal.shows("Value of TOKEN: ").await?;
    terminal.type_in("-----BEGIN KEY-----\rthe-rest-of-the-key\r")?;
    assert_eq!(terminal.exit_code().await?, Some(1));
    terminal.shows("more than one line").await?;
    assert!(!terminal.shown().contains("the-rest"), "{:?}", terminal.shown());
    // More than a terminal's own lines hold.
    let long = "x".repeat(10_000);
    let mut terminal = fixture.on_terminal(&["set", "LONG"], None)?;
    terminal.shows("Value of LONG: ").await?;
    terminal.type_in(&format!("{long}\r"))?;
    assert_eq!(terminal.exit_code().await?, Some(0), "{:?}", terminal.shown());
    assert_eq!(fixture.value("LONG")?, long);
    assert_eq!((fixture.value("TOKEN")?, fixture.generation()?), ("typed-in-secret".to_owned(), 4));
    Ok(())
}

#[tokio::test]
async fn what_is_edited_is_one_generation_and_nothing_of_it_is_left() -> Result<()> {
    let fixture = Fixture::new().await?;
    let edit = |script: &str, arguments: &[&str]| {
        let editor = fixture.editor(script)?;
        fixture.run(&[&["edit", "--yes"], arguments].concat(), "", Some(&editor))
    };
    // HOST is another, PORT goes, NEW comes, and TOKEN, which is not in the file, stays.
    let script = "grep -q 'value: null' \"$1\" || exit 3\n\
                  sed -i -e 's/\"db\"/\"db2\"/' -e '/^  PORT:/,/description/d' \"$1\"; echo '  NEW: \"1\"' >>\"$1\"";
    let done = edit(script, &["--message", "tidied"])?;
    ensure!(done.status.success(), "{}", text(&done.stderr));
    let shown = text(&done.stdout);
    for line in ["HOST", "changed", "db2", "PORT", "removed", "NEW", "added"] {
        ensure!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!shown.contains("TOKEN"), "{shown}");
    let newest = fixture.json(&["history"])?[0].clone();
    assert_eq!((&newest["generation"], &newest["message"]), (&json!(3), &json!("tidied")));
    assert_eq!((fixture.value("HOST")?, fixture.value("TOKEN")?), ("db2".to_owned(), CANARY.to_owned()));
    let seen = std::fs::read_to_string(fixture.seen())?;
    let [file, mode, directory, system] = seen.lines().collect::<Vec<_>>()[..] else { panic!("{seen}") };
    assert_eq!(mode, format!("600 {file}"));
    let directory = directory.strip_prefix("700 ").context(seen.clone())?;
    assert_eq!(system, "tmpfs");
    assert!(!Path::new(directory).exists(), "{directory}");

    let unchanged = edit("true", &[])?;
    assert_eq!(text(&unchanged.stdout), "nothing is different from generation 3\n");
    let reformatted = edit("echo '# a comment' >>\"$1\"", &[])?;
    assert_eq!(text(&reformatted.stdout), "nothing is different from generation 3\n");
    let failed = edit("sed -i s/db2/db3/ \"$1\"; exit 4", &[])?;
    assert!(text(&failed.stderr).contains("nothing was published"), "{}", text(&failed.stderr));
    assert_eq!(fixture.generation()?, 3);

    // With the secrets in it.
    let revealed =
        edit(&format!("grep -q {CANARY} \"$1\" || exit 3; sed -i s/{CANARY}/another/ \"$1\""), &["--reveal"])?;
    ensure!(revealed.status.success(), "{}", text(&revealed.stderr));
    assert!(!text(&revealed.stdout).contains("another"), "{}", text(&revealed.stdout));
    assert_eq!(fixture.value("TOKEN")?, "another");
    let unattended = fixture.run(&["edit"], "", Some(&fixture.editor("true")?))?;
    assert!(text(&unattended.stderr).contains("--yes"), "{}", text(&unattended.stderr));
    let without_editor = fixture.refused(&["edit", "--yes"])?;
    assert!(without_editor.contains("name an editor that needs none in EDITOR"), "{without_editor}");
    Ok(())
}

#[tokio::test]
async fn what_was_edited_is_kept_when_somebody_else_was_faster() -> Result<()> {
    let fixture = Fixture::new().await?;
    let set = format!("{} env set HOST=theirs >/dev/null", binary("outrigger").display());
    let editor = fixture.editor(&format!("sed -i 's/\"db\"/\"mine\"/' \"$1\"; {set}"))?;
    let refused = fixture.run(&["edit", "--yes"], "", Some(&editor))?;
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains("nothing was published") && told.contains("generation 3"), "{told}");
    let seen = std::fs::read_to_string(fixture.seen())?;
    let kept = seen.lines().next().context("the file")?;
    assert!(told.contains(kept), "{told}");
    assert!(std::fs::read_to_string(kept)?.contains("\"mine\""));
    std::fs::remove_dir_all(Path::new(kept).parent().context("a directory")?)?;
    assert_eq!(fixture.value("HOST")?, "theirs");
    Ok(())
}

#[tokio::test]
async fn a_person_sees_what_would_change_and_is_asked() -> Result<()> {
    let fixture = Fixture::new().await?;
    let editor = fixture.editor("sed -i 's/\"db\"/\"db2\"/' \"$1\"")?;
    let mut terminal = fixture.on_terminal(&["edit"], Some(&editor))?;
    terminal.shows("Publish this change of production/main? [y/N] ").await?;
    assert!(terminal.shown().contains("db2"), "{:?}", terminal.shown());
    terminal.type_in("\r")?;
    assert_eq!(terminal.exit_code().await?, Some(1));
    assert_eq!(fixture.generation()?, 2);

    let mut terminal = fixture.on_terminal(&["edit"], Some(&editor))?;
    terminal.shows("[y/N] ").await?;
    terminal.type_in("y\r")?;
    assert_eq!(terminal.exit_code().await?, Some(0), "{:?}", terminal.shown());
    assert_eq!(fixture.generation()?, 3);

    // The first attempt is wrong, and can be mended.
    let first = fixture.workplace.path().join("first");
    let script = format!(
        "if test -e {0}; then sed -i /BAD/d \"$1\"; else touch {0}; echo '  BAD-NAME: x' >>\"$1\"; fi\n\
                          echo '  GOOD: x' >>\"$1\"",
        first.display()
    );
    let mut terminal = fixture.on_terminal(&["edit"], Some(&fixture.editor(&script)?))?;
    terminal.shows("Edit again? [y/N] ").await?;
    assert!(terminal.shown().contains("line "), "{:?}", terminal.shown());
    terminal.type_in("y\r")?;
    terminal.shows_times("Edit again? [y/N] ", 2).await.context("GOOD is there twice")?;
    terminal.type_in("n\r")?;
    assert_eq!(terminal.exit_code().await?, Some(1));
    let seen = std::fs::read_to_string(fixture.seen())?;
    assert!(!Path::new(seen.lines().next().context("the file")?).exists());
    assert_eq!(fixture.generation()?, 3);
    Ok(())
}

#[tokio::test]
async fn what_is_inherited_is_removed_and_environments_are_compared() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.told(&["create", "eu", "--stage", "staging", "--extends", "main"])?;
    let eu = ["--environment", "staging"];
    let with = |arguments: &[&'static str]| [arguments, &eu].concat();
    fixture.told(&with(&["unset", "--inherited", "PORT"]))?;
    let listed = fixture.told(&with(&["list"]))?;
    assert!(listed.contains("PORT") && listed.contains("(removed)"), "{listed}");
    assert!(!fixture.told(&with(&["list", "--effective"]))?.contains("PORT"));
    assert!(fixture.told(&with(&["export", "--format", "dotenv"]))?.contains("# PORT is removed here"));
    assert!(fixture.told(&with(&["diff"]))?.contains("(removed)"));
    let between = fixture.told(&["diff", "staging", "production"])?;
    assert!(between.contains("PORT") && between.contains("added") && !between.contains("HOST"), "{between}");
    assert_eq!(fixture.json(&["diff", "staging", "production"])?[0]["key"], "PORT");
    assert!(fixture.refused(&with(&["unset", "--inherited", "ABSENT"]))?.contains("is not inherited"));
    assert!(fixture.refused(&with(&["reveal", "TOKEN"]))?.contains("not found"));
    assert_eq!(fixture.told(&with(&["reveal", "TOKEN", "--effective"]))?, format!("{CANARY}\n"));
    fixture.told(&with(&["unset", "PORT"]))?;
    assert!(fixture.told(&with(&["list", "--effective"]))?.contains("PORT"));
    Ok(())
}

#[tokio::test]
async fn a_change_that_has_to_be_approved_says_so_and_can_be_withdrawn_or_overridden() -> Result<()> {
    let fixture = Fixture::new().await?;
    let shown = fixture.told(&["protect", "--from", "medium"])?;
    assert!(shown.contains("medium"), "{shown}");
    let told = fixture.told(&["set", "HOST=db2", "--message", "a move"])?;
    assert!(told.contains("not published") && told.contains("sets values: HOST") && told.contains("admin"), "{told}");
    let id = |change: &Value| change["id"].as_str().map(str::to_owned).context("an id");
    let first = id(&fixture.json(&["changes"])?[0])?;
    assert!(fixture.told(&["changes", &first])?.contains("db2"));
    assert!(fixture.refused(&["approve", &first])?.contains("somebody else than its author"));
    assert!(fixture.refused(&["approve", "env_1"])?.contains("begins with `chg_`"));
    let withdrawn = fixture.told(&["reject", &first, "--reason", "not yet"])?;
    assert!(withdrawn.contains("withdrawn"), "{withdrawn}");

    let editor = fixture.editor("sed -i 's/\"db\"/\"db3\"/' \"$1\"")?;
    let edited = fixture.run(&["edit", "--yes"], "", Some(&editor))?;
    assert!(text(&edited.stdout).contains("not published"), "{}", text(&edited.stdout));
    let second = id(&fixture.json(&["changes"])?[0])?;
    let unprotected = fixture.json(&["protect", "--none"])?;
    assert_eq!((&unprotected["status"], &unprotected["risk"]), (&json!("open"), &json!("high")));
    assert_eq!(fixture.run(&["approve", &second, "--override"], "", None)?.status.code(), Some(2), "it takes a reason");
    assert_eq!((fixture.value("HOST")?, fixture.generation()?), ("db".to_owned(), 2));
    let done = fixture.json(&["approve", &second, "--override", "--reason", "it burns"])?;
    assert_eq!((&done["status"], &done["decision"]["generation"]), (&json!("overridden"), &json!(3)));
    assert_eq!((fixture.value("HOST")?, fixture.generation()?), ("db3".to_owned(), 3));
    assert_eq!(fixture.json(&["changes"])?.as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn the_audit_log_has_the_head_that_was_noted_down() -> Result<()> {
    let fixture = Fixture::new().await?;
    let audit = |arguments: &[&str]| -> Result<Output> {
        let mut command = Command::new(binary("outrigger"));
        command.arg("audit").args(arguments).env("OUTRIGGER_URL", fixture.server.api().base());
        Ok(command.env("OUTRIGGER_TOKEN", &fixture.token).env("HOME", fixture.workplace.path()).output()?)
    };
    let verified = audit(&["verify", "--output", "json"])?;
    let head: Value = serde_json::from_slice(&verified.stdout)?;
    let head = head["head"].as_str().context("a head")?;
    fixture.told(&["set", "HOST=later"])?;
    let expected = audit(&["verify", "--expect", head])?;
    ensure!(expected.status.success(), "{}", text(&expected.stderr));
    let unexpected = audit(&["verify", "--expect", &"00".repeat(32)])?;
    assert_eq!(unexpected.status.code(), Some(1));
    assert!(text(&unexpected.stderr).contains("older copy"), "{}", text(&unexpected.stderr));
    Ok(())
}

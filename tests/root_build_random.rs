//! Random small projects and random edits of them: after each edit, a build with the cache gives what
//! one without it gives, in the same store and in one that has never seen the project. The seed is
//! printed; `GABION_TEST_SEED` sets it.
#![allow(clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use test_support::store_check::assert_sound;
use test_support::{Outcome, Sandbox};

/// How many projects are built, and how often each is edited.
const PROJECTS: u32 = 8;
const EDITS: usize = 4;

/// A context with its Dockerfile, and the arguments of the command line.
#[derive(Clone, Debug)]
struct Project {
    stages: Vec<Stage>,
    files: BTreeMap<&'static str, File>,
    link: u8,
    ignores: bool,
    args: BTreeMap<u8, u8>,
}

#[derive(Clone, Debug)]
struct File {
    content: u8,
    mode: u32,
    owner: u32,
    is_old: bool,
}

#[derive(Clone, Debug)]
struct Stage {
    base: Option<Index>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Env(u8, u8),
    Arg(u8),
    Label(u8),
    Workdir(u8),
    User(u8),
    Run(u8, u8, u8),
    RunWithMount(u8, u8),
    RunOverStage(Index, u8),
    Copy { source: u8, to: u8, flags: u8 },
    CopyFromStage { stage: Index, source: u8, to: u8, flags: u8 },
    Heredoc(u8, u8),
}

#[derive(Clone, Debug)]
enum Edit {
    Content(Index, u8),
    Mode(Index, u32),
    Owner(Index, u32),
    Time(Index),
    FileMore(u8),
    FileLess(Index),
    Link(u8),
    Ignore,
    BuildArg(u8, u8),
    Base(Index, Option<Index>),
    Replace(Index, Index, Step),
    Insert(Index, Index, Step),
    Remove(Index, Index),
    Swap(Index, Index),
}

const NAMES: [&str; 5] = ["a", "dir/b", "dir/c", "dir/sub/d", "new"];

impl Project {
    fn dockerfile(&self) -> String {
        let mut text = String::new();
        for (number, stage) in self.stages.iter().enumerate() {
            let base = match &stage.base {
                Some(index) if number > 0 => format!("s{}", index.index(number)),
                _ => "localhost/base".to_owned(),
            };
            let _ = writeln!(text, "FROM {base} AS s{number}");
            for step in &stage.steps {
                let _ = writeln!(text, "{}", step.text(number));
            }
        }
        text
    }

    fn write(&self, dir: &Path) {
        let _ = fs::remove_dir_all(dir.join("dir"));
        for name in NAMES.iter().chain(&["link"]) {
            let _ = fs::remove_file(dir.join(name));
        }
        for (name, file) in &self.files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().expect("has a parent")).expect("made");
            fs::write(&path, format!("content {}\n", file.content)).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).expect("set");
            chown(&path, Some(file.owner), Some(file.owner)).expect("set");
            if file.is_old {
                let file = fs::File::options().write(true).open(&path).expect("opened");
                file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
            }
        }
        fs::create_dir_all(dir.join("dir")).expect("made");
        symlink(["a", "dir/b", "nowhere"][usize::from(self.link % 3)], dir.join("link")).expect("made");
        fs::write(dir.join(".dockerignore"), if self.ignores { "dir/c\n" } else { "" }).expect("written");
        fs::write(dir.join("Dockerfile"), self.dockerfile()).expect("written");
    }

    fn edit(&mut self, edit: &Edit) {
        let files: Vec<&'static str> = self.files.keys().copied().collect();
        let file = |index: &Index| (!files.is_empty()).then(|| files[index.index(files.len())]);
        let stages = self.stages.len();
        let at = |stage: &Stage, index: &Index| index.index(stage.steps.len() + 1);
        match edit {
            Edit::Content(index, content) => self.change(file(index), |file| file.content = *content),
            Edit::Mode(index, mode) => self.change(file(index), |file| file.mode = *mode),
            Edit::Owner(index, owner) => self.change(file(index), |file| file.owner = *owner),
            Edit::Time(index) => self.change(file(index), |file| file.is_old = !file.is_old),
            Edit::FileMore(number) => {
                let name = NAMES[usize::from(*number) % NAMES.len()];
                self.files.insert(name, File { content: *number, mode: 0o644, owner: 0, is_old: false });
            }
            Edit::FileLess(index) => _ = file(index).and_then(|name| self.files.remove(name)),
            Edit::Link(link) => self.link = *link,
            Edit::Ignore => self.ignores = !self.ignores,
            Edit::BuildArg(name, value) => _ = self.args.insert(name % 2, value % 3),
            Edit::Base(stage, base) => self.stages[stage.index(stages)].base = *base,
            Edit::Replace(stage, index, step) => {
                let stage = &mut self.stages[stage.index(stages)];
                let at = at(stage, index);
                match stage.steps.get_mut(at) {
                    Some(old) => *old = step.clone(),
                    None => stage.steps.push(step.clone()),
                }
            }
            Edit::Insert(stage, index, step) => {
                let stage = &mut self.stages[stage.index(stages)];
                stage.steps.insert(at(stage, index), step.clone());
            }
            Edit::Remove(stage, index) => {
                let stage = &mut self.stages[stage.index(stages)];
                let at = at(stage, index);
                if at < stage.steps.len() {
                    stage.steps.remove(at);
                }
            }
            Edit::Swap(stage, index) => {
                let stage = &mut self.stages[stage.index(stages)];
                let at = at(stage, index);
                if at + 1 < stage.steps.len() {
                    stage.steps.swap(at, at + 1);
                }
            }
        }
    }

    fn change(&mut self, name: Option<&str>, change: impl FnOnce(&mut File)) {
        if let Some(file) = name.and_then(|name| self.files.get_mut(name)) {
            change(file);
        }
    }
}

impl Step {
    /// Commands never fail: what they could not do is a result, too.
    fn text(&self, number: usize) -> String {
        let from = |index: &Index| match number {
            0 => "localhost/base".to_owned(),
            _ => format!("s{}", index.index(number)),
        };
        let choose = |list: &[&str], number: u8| list[usize::from(number) % list.len()].to_owned();
        let flags = |flags: u8| {
            let link = if flags & 1 != 0 { "--link " } else { "" };
            let owner = choose(&["", "--chown=7:8 ", "--chown=root:nogroup ", ""], flags >> 1);
            let mode = choose(&["", "--chmod=640 ", ""], flags >> 3);
            format!("{link}{owner}{mode}")
        };
        let to = |to: u8| choose(&["/c/", "/tmp/x/", "rel/", "/c/d/"], to);
        match self {
            Step::Env(name, value) => format!("ENV E{}={}", name % 2, value % 3),
            Step::Arg(name) => format!("ARG A{}=default", name % 2),
            Step::Label(value) => format!("LABEL l={}", value % 3),
            Step::Workdir(which) => format!("WORKDIR {}", choose(&["/w", "/tmp", "sub", "/w/$E0"], *which)),
            Step::User(which) => format!("USER {}", choose(&["0", "7", "7:8"], *which)),
            Step::Run(which, name, value) => {
                let (name, value) = (name % 2, value % 3);
                let run = [
                    "RUN echo E=$E0,$E1 A=$A0,$A1 @ >> /tmp/r# || :",
                    "RUN echo E=$E0,$E1 @ > /tmp/r# || :",
                    "RUN  echo E=$E0,$E1   @ > /tmp/r# || :",
                    "RUN rm -rf /tmp/x /tmp/r# /w || :",
                    "RUN mkdir -p /c/d/e# && chmod 75@ /c/d && echo @ > /c/d/e#/f || :",
                    "RUN chmod 64@ /tmp/r# || :",
                    "RUN ln -sf r@ /tmp/l# ; ln -f /tmp/r0 /tmp/h || :",
                    "RUN cat /c/* /tmp/* /rel/* > /all 2> /dev/null || :",
                    "RUN chmod 75@ / || :",
                    "RUN pwd > /tmp/pwd; id -u >> /tmp/pwd; id -g >> /tmp/pwd || :",
                    "RUN <<E\nset -- @\necho $1 $E0 > /tmp/heredoc# || :\nE",
                    "RUN rm -rf /c && mkdir /c && echo @ > /c/opaque || :",
                    "RUN [\"touch\", \"/tmp/touched#\"]",
                ];
                choose(&run, *which).replace('#', &name.to_string()).replace('@', &value.to_string())
            }
            Step::RunWithMount(which, name) => {
                let run = [
                    "RUN --mount=type=bind,source=dir,target=/m cat /m/b > /tmp/m# || :",
                    "RUN --mount=source=.,target=/m cat /m/a /m/new > /tmp/m# || :",
                    "RUN --mount=type=tmpfs,target=/t# echo > /t#/x || :",
                    "RUN --mount=type=cache,target=/k# ls -d /k# > /tmp/m# || :",
                ];
                choose(&run, *which).replace('#', &(name % 2).to_string())
            }
            Step::RunOverStage(stage, name) => format!(
                "RUN --mount=from={},target=/m ls /m/tmp /m/c > /tmp/s{n} 2> /dev/null; cat /m/tmp/r* >> /tmp/s{n} || :",
                from(stage),
                n = name % 2
            ),
            Step::Copy { source, to: where_to, flags: which } => {
                let source = choose(&["a", "dir", "dir/b a", "link", "*", ".", "[a-d]*"], *source);
                format!("COPY {}{source} {}", flags(*which), to(*where_to))
            }
            Step::CopyFromStage { stage, source, to: where_to, flags: which } => {
                let source = choose(&["/tmp", "/etc/passwd", "/tmp/*", "/c"], *source);
                format!("COPY --from={} {}{source} {}", from(stage), flags(*which), to(*where_to))
            }
            Step::Heredoc(name, value) => {
                format!("COPY <<E /tmp/r{}\n$E0 {}\nE", name % 2, value % 3)
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<(u8, u8)>().prop_map(|(name, value)| Step::Env(name, value)),
        1 => any::<u8>().prop_map(Step::Arg),
        1 => any::<u8>().prop_map(Step::Label),
        1 => any::<u8>().prop_map(Step::Workdir),
        1 => any::<u8>().prop_map(Step::User),
        6 => any::<(u8, u8, u8)>().prop_map(|(which, name, value)| Step::Run(which, name, value)),
        2 => any::<(u8, u8)>().prop_map(|(which, name)| Step::RunWithMount(which, name)),
        2 => any::<(Index, u8)>().prop_map(|(stage, name)| Step::RunOverStage(stage, name)),
        4 => any::<(u8, u8, u8)>().prop_map(|(source, to, flags)| Step::Copy { source, to, flags }),
        3 => any::<(Index, u8, u8, u8)>()
            .prop_map(|(stage, source, to, flags)| Step::CopyFromStage { stage, source, to, flags }),
        1 => any::<(u8, u8)>().prop_map(|(name, value)| Step::Heredoc(name, value)),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let mode = prop_oneof![Just(0o644), Just(0o755), Just(0o600)];
    prop_oneof![
        any::<(Index, u8)>().prop_map(|(file, content)| Edit::Content(file, content)),
        (any::<Index>(), mode).prop_map(|(file, mode)| Edit::Mode(file, mode)),
        (any::<Index>(), 0_u32..3).prop_map(|(file, owner)| Edit::Owner(file, owner)),
        any::<Index>().prop_map(Edit::Time),
        any::<u8>().prop_map(Edit::FileMore),
        any::<Index>().prop_map(Edit::FileLess),
        any::<u8>().prop_map(Edit::Link),
        Just(Edit::Ignore),
        any::<(u8, u8)>().prop_map(|(name, value)| Edit::BuildArg(name, value)),
        any::<(Index, Option<Index>)>().prop_map(|(stage, base)| Edit::Base(stage, base)),
        (any::<Index>(), any::<Index>(), step()).prop_map(|(stage, at, step)| Edit::Replace(stage, at, step)),
        (any::<Index>(), any::<Index>(), step()).prop_map(|(stage, at, step)| Edit::Insert(stage, at, step)),
        any::<(Index, Index)>().prop_map(|(stage, at)| Edit::Remove(stage, at)),
        any::<(Index, Index)>().prop_map(|(stage, at)| Edit::Swap(stage, at)),
    ]
}

fn project() -> impl Strategy<Value = Project> {
    let stage = (any::<Option<Index>>(), proptest::collection::vec(step(), 1..7));
    let stage = stage.prop_map(|(base, steps)| Stage { base, steps });
    proptest::collection::vec(stage, 1..4).prop_map(|stages| {
        let file = |content| File { content, mode: 0o644, owner: 0, is_old: false };
        let files = NAMES.iter().take(4).zip(0..).map(|(name, content)| (*name, file(content))).collect();
        Project { stages, files, link: 0, ignores: false, args: BTreeMap::new() }
    })
}

/// Two stores, of which the second forgets everything before each build.
struct Stores {
    one: Sandbox,
    other: Sandbox,
}

impl Stores {
    fn context(&self) -> PathBuf {
        self.one.path("context")
    }

    fn build(&self, sandbox: &Sandbox, project: &Project, args: &[&str]) -> Outcome {
        let tool = sandbox.gabion(["build", "--network=none", "--jobs=2", "-q"]).args(args);
        let values = project.args.iter().map(|(name, value)| format!("--build-arg=A{name}={value}"));
        tool.args(values).arg(self.context()).run()
    }

    /// Builds with and without the cache; says whether that went well.
    fn check(&self, project: &Project, is_timeless: bool) -> Result<bool, String> {
        project.write(&self.context());
        let times: &[&str] = if is_timeless { &["--timestamp=1000000"] } else { &[] };
        let cached = self.build(&self.one, project, times);
        let fresh = self.build(&self.one, project, &[times, &["--no-cache"]].concat());
        let differ = |what: &str, one: &str, two: &str| {
            format!("{what}\n--- with the cache\n{one}\n--- without\n{two}\n--- {}", project.dockerfile())
        };
        if cached.status.success() != fresh.status.success() {
            return Err(differ("one fails", &cached.to_string(), &fresh.to_string()));
        }
        if !cached.status.success() {
            return Ok(false);
        }
        let (id, fresh_id) = (cached.stdout.trim(), fresh.stdout.trim());
        if is_timeless {
            let _ = fs::remove_dir_all(self.other.graph_root().join("gabion"));
            let elsewhere = self.build(&self.other, project, times).stdout;
            let elsewhere = elsewhere.trim();
            if id != fresh_id || id != elsewhere {
                let seen = |sandbox, id| format!("{id}\n{}", shown(sandbox, id));
                let without = format!("{}\n{}", seen(&self.one, fresh_id), seen(&self.other, elsewhere));
                return Err(differ("images differ", &seen(&self.one, id), &without));
            }
        } else {
            let (shown, fresh) = (shown(&self.one, id), shown(&self.one, fresh_id));
            if shown != fresh {
                return Err(differ("images differ", &shown, &fresh));
            }
        }
        Ok(true)
    }
}

/// The config but for times and layers, and the files but for their times.
fn shown(sandbox: &Sandbox, image: &str) -> String {
    let mut config = sandbox.gabion(["inspect", "--type=image", image]).json()["OCIv1"].take();
    config["created"].take();
    config["rootfs"].take();
    for entry in config["history"].as_array_mut().into_iter().flatten() {
        entry["created"].take();
    }
    let container = sandbox.gabion(["from", "--pull-never", image]).ok();
    let mounted = sandbox.gabion(["mount", &container]).ok();
    let find = sandbox.any("find").arg(&mounted).args(["-printf", "%P %y %m %U:%G %n %l\\n"]).ok();
    let mut lines: Vec<String> = find.lines().map(str::to_owned).collect();
    let sums = sandbox.any("find").arg(&mounted).args(["-type", "f", "-exec", "cksum", "{}", "+"]).ok();
    lines.extend(sums.lines().map(|line| line.replace(&mounted, "")));
    lines.sort();
    sandbox.gabion(["rm", &container]).ok();
    format!("{}\n{}", serde_json::to_string_pretty::<Value>(&config).expect("JSON"), lines.join("\n"))
}

#[test]
fn root_a_cached_build_gives_what_an_uncached_one_gives() {
    let sandbox = || Sandbox::new(env!("CARGO_BIN_EXE_gabion"));
    let stores = Stores { one: sandbox(), other: sandbox() };
    stores.one.import_base();
    stores.other.import_base();
    fs::create_dir(stores.context()).expect("made");
    let given = std::env::var("GABION_TEST_SEED").ok().map(|text| text.parse().expect("GABION_TEST_SEED is a number"));
    let seed: u64 = given.unwrap_or(1);
    println!("GABION_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: PROJECTS, failure_persistence: None, max_shrink_iters: 40, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let cases = (project(), proptest::collection::vec(edit(), EDITS), any::<bool>());
    let succeeded = std::cell::Cell::new(0);
    let outcome = runner.run(&cases, |(mut project, edits, is_timeless)| {
        for edit in std::iter::once(None).chain(edits.iter().map(Some)) {
            if let Some(edit) = edit {
                project.edit(edit);
            }
            let went_well = stores.check(&project, is_timeless);
            let went_well = went_well.map_err(|error| TestCaseError::fail(format!("after {edit:?}: {error}")))?;
            succeeded.set(succeeded.get() + usize::from(went_well));
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("GABION_TEST_SEED={seed}: {error}");
    }
    assert!(succeeded.get() > PROJECTS as usize, "only {} builds succeeded", succeeded.get());
    assert_sound(&stores.one);
}

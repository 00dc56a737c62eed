//! `run_code` in Python through a real guest and a real IPython.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::TestGuest;

fn stdout(answer: &Value) -> String {
    text(&answer["stdout"])
}

fn stderr(answer: &Value) -> String {
    text(&answer["stderr"])
}

fn text(parts: &Value) -> String {
    parts
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part.as_str().unwrap())
        .collect()
}

fn error(answer: &Value) -> &str {
    answer["executionError"].as_str().unwrap()
}

/// The text of the main result.
fn main_text(answer: &Value) -> &str {
    let results = answer["result"].as_array().unwrap();
    let main = results.iter().find(|result| result["isMainResult"] == true);
    main.unwrap_or_else(|| panic!("no main result: {answer}"))["text/plain"]
        .as_str()
        .unwrap()
}

#[tokio::test]
async fn state_stays_and_the_last_expression_is_the_main_result() {
    let guest = TestGuest::with_python().await;
    let first = guest.python("x = 40\nprint('hello')\nx + 2").await;
    assert_eq!(
        (main_text(&first), stdout(&first).as_str(), error(&first)),
        ("42", "hello\n", "")
    );
    assert_eq!(first["execution_count"], 2);
    assert!(first["execution_time"].as_f64().unwrap() >= 0.0);
    assert_eq!(main_text(&guest.python("x, _").await), "(40, 42)");
    let quiet = guest.python("y = x  # nothing to show").await;
    assert_eq!(
        (&quiet["result"], &quiet["stdout"], error(&quiet)),
        (&json!([]), &json!([]), "")
    );
    assert_eq!(error(&guest.python("# only a comment").await), "");
    assert_eq!(main_text(&guest.python("__name__").await), "'__main__'");
    assert!(guest.hello().await.warm);
}

#[tokio::test]
async fn an_exception_is_told_and_keeps_the_state() {
    let guest = TestGuest::with_python().await;
    let answer = guest.python("kept = 1\nprint('before')\n1 / 0").await;
    assert_eq!(error(&answer), "ZeroDivisionError: division by zero");
    assert_eq!(stdout(&answer), "before\n");
    let trace = stderr(&answer);
    assert!(
        trace.contains("----> 3 1 / 0") && !trace.contains('\x1b') && !trace.contains("berth"),
        "{trace}"
    );
    assert_eq!(main_text(&guest.python("kept").await), "1");
    assert_eq!(
        error(&guest.python("nowhere").await),
        "NameError: name 'nowhere' is not defined"
    );
    assert_eq!(
        error(&guest.python("def f(:").await),
        "SyntaxError: invalid syntax (line 1)"
    );
    assert!(error(&guest.python("def f(): f()\nf()").await).starts_with("RecursionError"));
    let answer = guest
        .python("class E(Exception):\n  def __str__(self): raise ValueError\nraise E")
        .await;
    assert!(error(&answer).starts_with("E: <no text"), "{answer}");
    assert!(error(&guest.python("input('name? ')").await).starts_with("EOFError: input() has nobody to ask"));
}

#[tokio::test]
async fn leaving_the_cell_leaves_the_interpreter() {
    let guest = TestGuest::with_python().await;
    guest.python("kept = 1").await;
    for code in ["import sys; sys.exit()", "exit()", "quit", "raise SystemExit(0)"] {
        let answer = guest.python(code).await;
        assert_eq!((error(&answer), stderr(&answer).as_str()), ("", ""), "{code}");
    }
    assert_eq!(error(&guest.python("sys.exit(3)").await), "SystemExit: 3");
    assert_eq!(main_text(&guest.python("kept").await), "1");
}

#[tokio::test]
async fn a_lost_interpreter_is_explained_and_replaced() {
    let guest = TestGuest::with_python().await;
    for (code, cause) in [
        (
            "import os; print('last words'); os._exit(3)",
            "ended itself with exit code 3",
        ),
        (
            "import os; print('last words'); os.kill(os.getpid(), 9)",
            "was killed by signal 9, SIGKILL",
        ),
        (
            "import ctypes; print('last words'); ctypes.string_at(0)",
            "was killed by signal 11, SIGSEGV",
        ),
        (
            "import os; print('last words'); os.system('kill -9 $PPID'); os.pause()",
            "was killed by signal 9",
        ),
    ] {
        guest.python("kept = 1").await;
        let answer = guest.python(code).await;
        assert!(
            error(&answer).starts_with("InterpreterLost: the python interpreter "),
            "{answer}"
        );
        assert!(
            error(&answer).contains(cause) && error(&answer).contains("variables are lost"),
            "{answer}"
        );
        assert_eq!(stdout(&answer), "last words\n");
        assert_eq!(
            error(&guest.python("kept").await),
            "NameError: name 'kept' is not defined"
        );
    }
}

#[tokio::test]
async fn between_runs_a_killed_interpreter_is_replaced_silently() {
    let guest = TestGuest::with_python().await;
    let pid = main_text(&guest.python("import os; os.getpid()").await).to_owned();
    guest
        .shell(&format!(
            "kill -9 {pid}; while [ -e /proc/{pid}/exe ]; do sleep 0.01; done"
        ))
        .await;
    assert_eq!(main_text(&guest.python("1 + 1").await), "2");
}

#[tokio::test]
async fn everything_of_python_may_be_killed_and_comes_back() {
    let guest = TestGuest::with_python().await;
    let pids = guest
        .python("import os; open('/proc/%d/task/%d/children' % ((os.getppid(),)*2)).read(), os.getppid()")
        .await;
    let pids: String = main_text(&pids)
        .chars()
        .map(|c| if c.is_ascii_digit() { c } else { ' ' })
        .collect();
    guest.shell(&format!("kill -9 {pids}; sleep 0.05")).await;
    assert_eq!(main_text(&guest.python("1 + 1").await), "2");
}

#[tokio::test]
async fn a_run_past_its_timeout_is_interrupted_and_keeps_the_state() {
    let guest = TestGuest::with_python().await;
    for code in [
        "kept = 1\nprint('in the loop')\nwhile True: pass",
        "print('in the loop')\nimport time; time.sleep(1000)",
        "print('in the loop')\n!sleep 1000",
        "print('in the loop')\nimport asyncio\nawait asyncio.sleep(1000)",
        "print('in the loop')\nimport numpy\nwhile True: numpy.ones(100000).sum()",
    ] {
        let answer = guest.python_for(code, 1).await;
        let wanted = "TimeoutError: the run timed out after 1 s and was interrupted; variables are kept";
        assert_eq!(error(&answer), wanted, "{code}");
        assert_eq!(stdout(&answer), "in the loop\n", "{code}");
        assert_eq!(main_text(&guest.python("kept").await), "1");
    }
}

#[tokio::test]
async fn code_that_ignores_the_interrupt_is_killed_with_everything_it_started() {
    let guest = TestGuest::with_python().await;
    let (early, late) = (guest.path("early"), guest.path("late"));
    let daemon = "import subprocess\ndef daemon(file):\n    subprocess.run(['bash', '-c', \
                  f'setsid bash -c \"echo \\\\$\\\\$ > {file}; exec sleep 1000\" >/dev/null 2>&1 & \
                  until [ -s {file} ]; do sleep 0.01; done'])\n";
    // What an earlier run left in the background is not the business of this one.
    let answer = guest.python(&format!("{daemon}daemon('{early}')")).await;
    assert_eq!(error(&answer), "", "{answer}");
    // Process start times are counted in hundredths of a second.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let code = format!(
        "daemon('{late}')\nwhile True:\n    try:\n        while True: pass\n    except KeyboardInterrupt: pass\n"
    );
    // Python may deliver the interrupt in the handler itself, which ends the loop; one of a few tries swallows it.
    let mut answer = Value::Null;
    for _ in 0..5 {
        let code = format!("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{daemon}{code}");
        answer = guest.python_for(&code, 1).await;
        if error(&answer).contains("was killed") {
            break;
        }
    }
    assert!(
        error(&answer).starts_with("TimeoutError: the run timed out after 1 s"),
        "{answer}"
    );
    assert!(
        error(&answer).contains("did not stop when it was interrupted and was killed"),
        "{answer}"
    );
    assert_eq!(
        error(&guest.python("daemon").await),
        "NameError: name 'daemon' is not defined"
    );
    let alive = |file: &str| {
        let pid = fs_err::read_to_string(file).unwrap();
        std::path::Path::new(&format!("/proc/{}", pid.trim())).exists()
    };
    assert!(!alive(&late), "the daemon of the killed run lives");
    assert!(alive(&early), "the daemon of an earlier run was killed");
}

#[tokio::test]
async fn huge_output_is_cut_and_costs_no_memory() {
    let guest = TestGuest::with_python().await;
    let memory = || {
        let status = fs_err::read_to_string(format!("/proc/{}/status", guest.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_ascii_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 1024
    };
    let before = memory();
    let answer = guest
        .python("print('first'); print('x' * 100_000_000); print('last')")
        .await;
    let output = stdout(&answer);
    assert!(output.len() < 5 << 20 && output.starts_with("first\n") && output.ends_with("last\n"));
    assert!(output.contains("bytes left out here"));
    assert_eq!(error(&answer), "");
    // The answer itself exists a few times over; the output of the run does not.
    assert!(memory() - before < 60, "{} MiB more", memory() - before);
    let answer = guest
        .python("display({'text/html': 'h' * 30_000_000, 'text/plain': 'small'}, raw=True)")
        .await;
    let shown = answer["result"][0]["text/plain"].as_str().unwrap();
    assert!(shown.starts_with("small\n[text/html left out"), "{shown}");
}

#[tokio::test]
async fn results_come_in_the_order_in_which_they_are_shown() {
    let guest = TestGuest::with_python().await;
    let answer = guest
        .python(
            "from IPython.display import HTML, Markdown, Latex, SVG, JSON\ndisplay(HTML('<b>1</b>'))\n\
                 display(Markdown('*2*'), Latex('$3$'))\n\
                 display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))\n\
                 display(JSON({'five': [1, float('nan')]}))\n'main'",
        )
        .await;
    let results = answer["result"].as_array().unwrap();
    let has: Vec<bool> = [
        "text/html",
        "text/markdown",
        "text/latex",
        "image/svg+xml",
        "application/json",
        "text/plain",
    ]
    .iter()
    .zip(results)
    .map(|(mime, result)| result.get(*mime).is_some())
    .collect();
    assert_eq!((has, results.len()), (vec![true; 6], 6), "{answer}");
    assert_eq!(results[4]["application/json"], json!({ "five": [1, null] }));
    let flags: Vec<_> = results
        .iter()
        .map(|result| result["isMainResult"].as_bool().unwrap())
        .collect();
    assert_eq!(flags, [false, false, false, false, false, true]);
    let answer = guest
        .python("class Chart:\n  def _repr_mimebundle_(self, **_):\n    return {'application/vnd.vegalite.v5+json': \
                 {'mark': 'bar'}, 'text/plain': 'chart'}\ndisplay(Chart())")
        .await;
    let results = answer["result"].as_array().unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(
        results[0]["application/vnd.vegalite.v5+json"],
        json!({ "mark": "bar" })
    );
}

#[tokio::test]
async fn figures_and_tables_are_shown_once() {
    let guest = TestGuest::with_python().await;
    for code in [
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "plt.plot([2, 1]); plt.show()",
        "fig, axes = plt.subplots(); axes.bar(['a', 'b'], [1, 2]);",
    ] {
        let answer = guest.python(code).await;
        let results = answer["result"].as_array().unwrap();
        assert_eq!((results.len(), error(&answer)), (1, ""), "{code}");
        let png = results[0]["image/png"].as_str().unwrap();
        assert!(png.starts_with("iVBORw0KGgo") && !png.contains('\n'), "{code}");
    }
    assert_eq!(guest.python("1;").await["result"], json!([]));
    let answer = guest
        .python("import pandas as pd\npd.DataFrame({'a': [1, 2]})")
        .await;
    assert!(
        answer["result"][0]["text/html"]
            .as_str()
            .unwrap()
            .contains("<table")
    );
    assert!(main_text(&answer).contains("0  1"));
}

#[tokio::test]
async fn python_c_and_child_processes_share_the_output_in_order() {
    let guest = TestGuest::with_python().await;
    let answer = guest
        .python(
            "import os, subprocess, sys, ctypes\nprint('1 python')\nos.write(1, b'2 descriptor\\n')\n\
                 subprocess.run(['echo', '3 child'])\n!echo 4 shell\nlibc = ctypes.CDLL(None)\n\
                 libc.dprintf(1, b'5 c\\n')\nsys.stdout.write('6 again\\n');\nprint('ü 😀 \\ud83d')",
        )
        .await;
    assert_eq!(
        stdout(&answer),
        "1 python\n2 descriptor\n3 child\n4 shell\n5 c\n6 again\nü 😀 \\ud83d\n",
        "{answer}"
    );
    let answer = guest
        .python("import sys; print('e', file=sys.stderr); listing = !echo a; echo b\nlisting")
        .await;
    assert_eq!(
        (stderr(&answer).as_str(), main_text(&answer)),
        ("e\n", "['a', 'b']")
    );
    assert_eq!(main_text(&guest.python("%time 3").await), "3");
    assert_eq!(stdout(&guest.python("%%bash\necho in bash").await), "in bash\n");
    assert_eq!(
        main_text(
            &guest
                .python("import asyncio\nawait asyncio.sleep(0.01, 'awaited')")
                .await
        ),
        "'awaited'"
    );
}

#[tokio::test]
async fn processes_of_the_code_work_as_in_a_program() {
    let guest = TestGuest::with_python().await;
    let answer = guest
        .python("import multiprocessing, pickle\ndef square(x): return x * x\nclass A: pass\n\
                 pickle.loads(pickle.dumps(A()))\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n    \
                 squares = pool.map(square, range(4))\nsquares")
        .await;
    assert_eq!((main_text(&answer), error(&answer)), ("[0, 1, 4, 9]", ""));
    let answer = guest
        .python("with multiprocessing.get_context('spawn').Pool(1) as pool:\n    lengths = pool.map(len, ['abc'])\nlengths")
        .await;
    assert_eq!((main_text(&answer), error(&answer)), ("[3]", ""));
    // A child that a fork leaves behind neither speaks for the interpreter nor keeps the run open.
    let answer = guest
        .python("import os, time\nif os.fork() == 0:\n    display('child'); time.sleep(300)\n'parent'")
        .await;
    assert_eq!(main_text(&answer), "'parent'");
    // A server in the background may write as much as it likes between the runs.
    let marker = guest.path("wrote");
    let answer = guest
        .python(&format!(
            "import subprocess\nserver = subprocess.Popen(['bash', '-c', 'sleep 0.1; head -c 1000000 /dev/zero; \
             touch {marker}; sleep 300'])"
        ))
        .await;
    assert_eq!(error(&answer), "");
    guest
        .shell(&format!("until [ -e {marker} ]; do sleep 0.02; done"))
        .await;
    assert_eq!(main_text(&guest.python("server.poll() is None").await), "True");
}

#[tokio::test]
async fn interpreters_do_not_share_random_numbers_and_have_one_main_thread() {
    let guest = TestGuest::with_python().await;
    let draw = "import numpy, random\n(numpy.random.rand(), random.random())";
    let first = main_text(&guest.python(draw).await).to_owned();
    guest.python("import os; os._exit(0)").await;
    assert_ne!(main_text(&guest.python(draw).await), first);
    let answer = guest.python("import threading\nthreading.active_count()").await;
    assert_eq!(main_text(&answer), "1");
    // The threads of linear algebra are no reason to warn of forks.
    let answer = guest
        .python("import os\nif os.fork() == 0: os._exit(0)\nos.wait()[1]")
        .await;
    assert_eq!((main_text(&answer), stderr(&answer).as_str()), ("0", ""));
}

#[tokio::test]
async fn runs_at_once_take_turns() {
    let guest = TestGuest::with_python().await;
    guest.python("seen = []").await;
    let runs = (0..8).map(|number| {
        let guest = &guest;
        async move {
            guest
                .python(&format!("seen.append({number}); {number} * 10"))
                .await
        }
    });
    let answers = futures_util::future::join_all(runs).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(main_text(answer), format!("{}", number * 10));
    }
    assert_eq!(
        main_text(&guest.python("sorted(seen)").await),
        "[0, 1, 2, 3, 4, 5, 6, 7]"
    );
}

#[tokio::test]
async fn bad_arguments_are_refused() {
    let guest = TestGuest::with_python().await;
    for (arguments, wanted) in [
        (json!({ "code": "", "language": "python" }), "`code` is empty"),
        (
            json!({ "code": "1", "language": "cobol" }),
            "`language` is `cobol`; allowed: `python`, `javascript`",
        ),
        (
            json!({ "code": "1", "language": "python", "timeout_s": 0 }),
            "`timeout_s` is 0",
        ),
        (json!({ "language": "python" }), "missing field `code`"),
    ] {
        let answer = guest.call("run_code", arguments).await;
        assert!(answer.is_error && answer.text.contains(wanted), "{}", answer.text);
    }
    let lone = guest
        .call_raw("run_code", r#"{"code":"len('\ud83d')","language":"python"}"#)
        .await;
    assert_eq!(main_text(&lone.json()), "1");
}

/// The chart that comes with the figure that `code` draws.
async fn chart(guest: &TestGuest, code: &str) -> Value {
    let answer = guest
        .python(&format!("import matplotlib.pyplot as plt\n{code}"))
        .await;
    assert_eq!(error(&answer), "", "{answer}");
    let figures = answer["result"].as_array().unwrap();
    let figures: Vec<_> = figures
        .iter()
        .filter(|result| result.get("image/png").is_some())
        .collect();
    assert_eq!(figures.len(), 1, "{code}: {answer}");
    figures[0].get("chart").cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn the_data_of_a_figure_come_along() {
    let guest = TestGuest::with_python().await;
    let line = chart(
        &guest,
        "plt.plot([1, 2], [3.5, float('nan')], label='a'); plt.plot(['x', 'y'], [1, 2])\n\
         plt.title('T'); plt.xlabel('X'); plt.ylabel('Y'); plt.yscale('log'); plt.axhline(2); None",
    )
    .await;
    assert_eq!(line["type"], "line");
    assert_eq!(
        (&line["title"], &line["x_label"], &line["y_scale"]),
        (&json!("T"), &json!("X"), &json!("log"))
    );
    assert_eq!(
        line["series"][0],
        json!({ "label": "a", "points": [[1, 3.5], [2, null]] })
    );
    assert_eq!(line["series"][1]["points"], json!([["x", 1], ["y", 2]]));
    let bar = chart(&guest, "plt.bar(['a', 'b'], [1, 2]); plt.show()").await;
    assert_eq!(
        bar["series"][0]["parts"],
        json!([{ "label": "a", "value": 1 }, { "label": "b", "value": 2 }])
    );
    let histogram = chart(&guest, "plt.hist([1, 1, 2, 4], bins=3); None").await;
    assert_eq!(
        (&histogram["type"], &histogram["series"][0]["parts"][0]["value"]),
        (&json!("histogram"), &json!(2.0))
    );
    let pie = chart(&guest, "plt.pie([1, 3], labels=['q', 'r']); None").await;
    assert_eq!(pie["series"][0]["parts"][1]["label"], "r");
    let scatter = chart(&guest, "plt.scatter([1, 2], [3, 4]); None").await;
    assert_eq!(
        (&scatter["type"], &scatter["series"][0]["points"]),
        (&json!("scatter"), &json!([[1.0, 3.0], [2.0, 4.0]]))
    );
    let several = chart(
        &guest,
        "f, (a, b) = plt.subplots(1, 2); a.plot([1, 2]); b.imshow([[1, 2]]); None",
    )
    .await;
    assert_eq!(
        (&several["type"], &several["charts"][1]["type"]),
        (&json!("several"), &json!("image"))
    );
    assert_eq!(
        chart(&guest, "plt.text(0, 0, 'only words'); None").await,
        Value::Null
    );
    let long = chart(&guest, "plt.plot(range(50_000)); None").await;
    assert_eq!(
        (
            long["series"][0]["points"].as_array().unwrap().len(),
            &long["cut"]
        ),
        (20_000, &json!(true))
    );
}

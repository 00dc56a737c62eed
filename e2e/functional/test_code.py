"""What every interpreter has to do, in one table, through the official SDK where it knows the language and through the
tool itself where it does not. Both ways of running code, the answer at the end and the stream, are held to it."""

import base64
import json
import time

import pytest

SDK_LANGUAGES = ("python", "javascript", "java", "r")
LANGUAGES = (*SDK_LANGUAGES, "typescript", "bash")

# What each language says for the same things. An absent row is something that the language does not have.
SAYS = {
    "value": {
        "python": ("40 + 2", "42"), "javascript": ("40 + 2", "42"), "typescript": ("(40 as number) + 2", "42"),
        "java": ("40 + 2", "42"), "r": ("40 + 2", "[1] 42"),
    },
    "stdout": {
        "python": "print('out')", "javascript": "console.log('out')", "typescript": "console.log('out' as string)",
        "java": 'System.out.println("out")', "r": "cat('out\\n')", "bash": "echo out",
    },
    "stderr": {
        "python": "import sys; print('err', file=sys.stderr)", "javascript": "console.error('err')",
        "typescript": "console.error('err')", "java": 'System.err.println("err")', "r": "message('err')",
        "bash": "echo err >&2",
    },
    "keep": {
        "python": ("kept = 'é😀'", "print(kept)"), "javascript": ("const kept = 'é😀'", "console.log(kept)"),
        "typescript": ("const kept: string = 'é😀'", "console.log(kept)"),
        "java": ('String kept = "é😀";', "System.out.println(kept)"), "r": ("kept <- 'é😀'", "cat(kept, '\\n', sep = '')"),
        "bash": ("kept='é😀'", 'echo "$kept"'),
    },
    "comment": {
        "python": "# nothing", "javascript": "// nothing", "typescript": "// nothing", "java": "// nothing",
        "r": "# nothing", "bash": "# nothing",
    },
    "failure": {  # code, what the error is called, a part of what it says
        "python": ("1 / 0", "ZeroDivisionError", "division by zero"),
        "javascript": ("null.x", "TypeError", "Cannot read properties of null"),
        "typescript": ("(null as any).x", "TypeError", "Cannot read properties of null"),
        "java": ("1 / 0", "java.lang.ArithmeticException", "/ by zero"),
        "r": ("stop('on purpose')", "Error", "on purpose"), "bash": ("false", "ExitCode", "exit code 1"),
    },
    "syntax": {
        "python": ("def f(:", "SyntaxError"), "javascript": ("if (", "SyntaxError"), "typescript": ("let x: = 1", "SyntaxError"),
        "java": ("int x = ;", "CompilationError"), "r": ("1 +", "SyntaxError"), "bash": ("if", "ExitCode"),
    },
    "recursion": {
        "python": ("def f(): f()\nf()", "RecursionError"), "javascript": ("function f() { f() }; f()", "RangeError"),
        "typescript": ("function f(): void { f() }; f()", "RangeError"),
        "java": ("void f() { f(); } f()", "java.lang.StackOverflowError"),
        "r": ("f <- function() f(); f()", "expressionStackOverflowError"),
    },
    "loop": {
        "python": "while True: pass", "javascript": "while (true) {}", "typescript": "while (true) {}",
        "java": "while (true) {}", "r": "while (TRUE) {}", "bash": "while true; do :; done",
    },
    "wait": {
        "python": "import time; time.sleep(60)", "javascript": "await new Promise((done) => setTimeout(done, 60000))",
        "typescript": "await new Promise((done) => setTimeout(done, 60000))", "java": "Thread.sleep(60000)",
        "r": "Sys.sleep(60)", "bash": "sleep 60",
    },
    "die": {
        "python": "import os; os._exit(3)", "javascript": "process.reallyExit(3)", "typescript": "process.reallyExit(3)",
        "java": "System.exit(3)", "r": "base::quit(status = 3)", "bash": "exit 3",
    },
    "killed": {
        "python": "import os; os.kill(os.getpid(), 9)", "javascript": "process.kill(process.pid, 'SIGKILL')",
        "typescript": "process.kill(process.pid, 'SIGKILL')",
        "java": 'new ProcessBuilder("kill", "-9", "" + ProcessHandle.current().pid()).start().waitFor()',
        "r": "tools::pskill(Sys.getpid(), 9)", "bash": "kill -9 $$",
    },
    "ask": {  # Reading from a person finds nobody and does not hang.
        "python": "input('name? ')", "javascript": "require('fs').readFileSync(0, 'utf8')",
        "typescript": "require('fs').readFileSync(0, 'utf8')", "java": "System.in.read()", "r": "readLines('stdin', 1)",
        "bash": "read line || true",
    },
    "much": {  # More than an answer holds.
        "python": "for _ in range(100_000): print('x' * 99)", "javascript": "for (let i = 0; i < 100000; i++) console.log('x'.repeat(99))",
        "typescript": "for (let i = 0; i < 100000; i++) console.log('x'.repeat(99))",
        "java": 'for (int i = 0; i < 100000; i++) System.out.println("x".repeat(99))',
        "r": "for (i in 1:100000) cat(strrep('x', 99), '\\n', sep = '')", "bash": "yes $(printf 'x%.0s' {1..99}) | head -100000",
    },
    "slow": {
        "python": "import time\nprint('one')\ntime.sleep(0.9)\nprint('two')",
        "javascript": "console.log('one'); await new Promise((done) => setTimeout(done, 900)); console.log('two')",
        "typescript": "console.log('one'); await new Promise((done) => setTimeout(done, 900)); console.log('two')",
        "java": 'System.out.println("one"); Thread.sleep(900); System.out.println("two");',
        "r": "cat('one\\n'); Sys.sleep(0.9); cat('two\\n')", "bash": "echo one; sleep 0.9; echo two",
    },
}


def row(name):
    return pytest.mark.parametrize("language", SAYS[name])


class Runner:
    """Runs code and gives back the tool's own answer, which has the same form in every language."""

    def __init__(self, session):
        self.session = session

    def __call__(self, language, code, timeout_s=30):
        done = self.session.call_mcp_tool("run_code", {"language": language, "code": code, "timeout_s": timeout_s})
        assert done.success, done.error_message
        return json.loads(done.data)


@pytest.fixture
def run(shared):
    return Runner(shared)


def stdout(answer):
    return "".join(answer["stdout"])


def stderr(answer):
    return "".join(answer["stderr"])


@row("value")
def test_the_last_expression_is_the_main_result(run, language):
    code, text = SAYS["value"][language]
    answer = run(language, code)
    assert answer["result"] == [{"text/plain": text, "isMainResult": True}], answer
    assert answer["executionError"] == "" and answer["execution_count"] >= 1 and answer["execution_time"] >= 0


@row("stdout")
def test_the_outputs_are_apart(run, language):
    answer = run(language, SAYS["stdout"][language])
    assert (answer["stdout"], answer["stderr"], answer["executionError"]) == (["out\n"], [], "")
    answer = run(language, SAYS["stderr"][language])
    assert (answer["stdout"], answer["stderr"], answer["executionError"]) == ([], ["err\n"], "")


@row("keep")
def test_variables_are_kept_and_text_is_text(run, language):
    first, second = SAYS["keep"][language]
    before = run(language, first)
    assert before["executionError"] == "", before
    after = run(language, second)
    assert stdout(after) == "é😀\n", after
    assert after["execution_count"] == before["execution_count"] + 1


@row("comment")
def test_a_comment_is_code_that_does_nothing(run, language):
    answer = run(language, SAYS["comment"][language])
    assert (answer["result"], answer["stdout"], answer["stderr"], answer["executionError"]) == ([], [], [], "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_code_is_refused(shared, language):
    done = shared.call_mcp_tool("run_code", {"language": language, "code": " \n"})
    assert not done.success and "`code` is empty" in done.error_message


@row("failure")
def test_an_error_is_named_and_leaves_the_state(run, language):
    keep, show = SAYS["keep"][language]
    run(language, keep)
    code, name, part = SAYS["failure"][language]
    answer = run(language, code)
    assert answer["executionError"].startswith(name + ": ") and part in answer["executionError"], answer
    if language != "bash":
        assert part in stderr(answer) and "berth" not in stderr(answer), answer
    assert stdout(run(language, show)) == "é😀\n"


@row("syntax")
def test_a_mistake_in_the_grammar_is_an_error(run, language):
    code, name = SAYS["syntax"][language]
    answer = run(language, code)
    assert answer["executionError"].startswith(name), answer
    assert run(language, SAYS["stdout"][language])["stdout"] == ["out\n"]


@row("recursion")
def test_endless_recursion_is_an_error(run, language):
    code, name = SAYS["recursion"][language]
    answer = run(language, code)
    assert answer["executionError"].startswith(name), answer
    assert run(language, SAYS["stdout"][language])["stdout"] == ["out\n"]


@pytest.mark.parametrize("what", ("loop", "wait"))
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_timeout_interrupts_and_keeps_the_state(run, language, what):
    keep, show = SAYS["keep"][language]
    run(language, keep)
    answer = run(language, SAYS[what][language], timeout_s=1)
    assert "timed out after 1 s" in answer["executionError"] and "variables are kept" in answer["executionError"], answer
    assert stdout(run(language, show)) == "é😀\n"


@row("die")
def test_an_interpreter_that_ends_itself_is_explained_and_replaced(run, language):
    answer = run(language, SAYS["die"][language])
    assert "exit code 3" in answer["executionError"] and "variables are lost" in answer["executionError"], answer
    assert run(language, SAYS["stdout"][language])["stdout"] == ["out\n"]


@row("killed")
def test_an_interpreter_that_is_killed_is_explained_and_replaced(run, language):
    answer = run(language, SAYS["killed"][language])
    assert "signal 9" in answer["executionError"] and "variables are lost" in answer["executionError"], answer
    assert run(language, SAYS["stdout"][language])["stdout"] == ["out\n"]


@row("ask")
def test_nobody_answers_questions(run, language):
    answer = run(language, SAYS["ask"][language], timeout_s=10)
    assert "timed out" not in answer["executionError"], answer
    assert run(language, SAYS["stdout"][language])["stdout"] == ["out\n"]


@row("much")
def test_much_output_is_cut_with_a_note(run, language):
    text = stdout(run(language, SAYS["much"][language]))
    assert 3_000_000 < len(text) < 5_000_000 and "left out" in text, text[:200]
    assert run(language, SAYS["stdout"][language])["stdout"] == ["out\n"]


@pytest.mark.parametrize("language", SDK_LANGUAGES)
def test_the_stream_delivers_output_while_the_code_runs(shared, language):
    chunks, errors = [], []
    done = shared.code.run(SAYS["slow"][language], language, stream_beta=True, on_error=errors.append,
                           on_stdout=lambda chunk: chunks.append((chunk, time.monotonic())))
    assert done.success and not errors, done.error_message
    assert [chunk for chunk, _ in chunks] == ["one\n", "two\n"]
    assert chunks[1][1] - chunks[0][1] > 0.8
    code, text = SAYS["value"][language]
    assert shared.code.run(code, language, stream_beta=True).result == text
    code, name, part = SAYS["failure"][language]
    done = shared.code.run(code, language, stream_beta=True, on_error=errors.append)
    assert not done.success and part in done.error_message and len(errors) == 1, done.error_message


@pytest.mark.parametrize("name, language", [
    ("Py", "python"), ("python3", "python"), ("NODE", "javascript"), ("js", "javascript"), (" nodejs ", "javascript"),
    ("ts", "typescript"), ("R", "r"), ("Java", "java"), ("sh", "bash"),
])
def test_languages_have_other_names(run, name, language):
    assert run(name, SAYS["stdout"][language])["stdout"] == ["out\n"]


def test_an_unknown_language_is_refused_with_those_there_are(shared):
    done = shared.call_mcp_tool("run_code", {"language": "cobol", "code": "1"})
    assert not done.success and all(f"`{language}`" in done.error_message for language in LANGUAGES), done.error_message


# What only one language has.


def test_javascript_loads_modules_as_files_do(run, shared):
    shared.file.write("/home/user/local.mjs", "export const where = 'local'; export default 7;")
    for code, text in [
        ("import fs, { existsSync as there } from 'node:fs'; [typeof fs.readFileSync, there('/')]", "[ 'function', true ]"),
        ("import * as path from 'path'; path.join('a', 'b')", "'a/b'"),
        ("const os = await import('node:os'); typeof os.cpus", "'function'"),
        ("import seven, { where } from './local.mjs'; `${where} ${seven}`", "'local 7'"),
        ("require('node:util').inspect(1)", "'1'"),
    ]:
        answer = run("javascript", code)
        assert answer["executionError"] == "" and answer["result"][0]["text/plain"] == text, answer
        assert answer["stderr"] == []


def test_javascript_declares_again_and_reports_what_nobody_caught(run):
    assert run("javascript", "const twice = 1; let { a } = { a: 2 }; class C {}")["executionError"] == ""
    assert run("javascript", "const twice = 3; let a = 4; class C {}; twice + a")["result"][0]["text/plain"] == "7"
    answer = run("javascript", "Promise.reject(new Error('forgotten')); 1")
    assert answer["executionError"] == "Error: forgotten" and "Unhandled rejection" in stderr(answer)
    answer = run("javascript", "setTimeout(() => { throw new Error('late') }); await new Promise((d) => setTimeout(d, 50))")
    assert answer["executionError"] == "Error: late"
    assert run("javascript", "process.exit(0); 1")["executionError"] == ""
    assert run("javascript", "process.exit(2)")["executionError"] == "Exit: exit code 2"
    assert run("javascript", "twice")["result"][0]["text/plain"] == "3"


def test_javascript_shows_more_than_text(run):
    answer = run("javascript", "console.log('a'); display({ 'text/html': '<b>b</b>' }); console.log('c'); 4")
    assert answer["result"] == [{"text/html": "<b>b</b>", "isMainResult": False},
                                {"text/plain": "4", "isMainResult": True}]


def test_typescript_shares_the_variables_of_javascript(run):
    run("typescript", "enum Colour { Red, Blue }\ninterface P { x: number }\nconst p: P = { x: Colour.Blue }")
    assert run("javascript", "p.x")["result"][0]["text/plain"] == "1"


def test_java_is_a_shell_and_runs_programmes(run):
    for code, text in [
        ("import java.time.*;\nint x = 5;\nx = x * 2;\nx + 1", "11"),
        ("int twice(int n) { return 2 * n; }\ntwice(x)", "20"),
        ("record Point(int a, int b) {}\nnew Point(1, 2)", "Point[a=1, b=2]"),
        ("List.of(1, 2).stream().map(i -> i + 1).toList()", "[2, 3]"),
    ]:
        answer = run("java", code)
        assert answer["executionError"] == "" and answer["result"][0]["text/plain"] == text, answer
    programme = "package a.b;\nimport java.util.*;\npublic class Main {\n  public static void main(String[] args) {\n" \
                "    System.out.println(\"ran \" + args.length);\n  }\n}\n"
    assert stdout(run("java", programme)) == "ran 0\n"
    answer = run("java", "int y = 1;\nint z = nowhere;")
    assert "line 2" in answer["executionError"] and "cannot find symbol" in answer["executionError"], answer


def test_r_shows_plots_and_warnings(run):
    answer = run("r", "x <- c(1, 2, 3)\nplot(x)\nmean(x)")
    picture, value = answer["result"]
    assert base64.b64decode(picture["image/png"], validate=True).startswith(b"\x89PNG")
    assert value == {"text/plain": "[1] 2", "isMainResult": True}
    # A later run adds to the plot; one that does not touch it does not show it again.
    added = run("r", "lines(rev(x))")["result"]
    assert len(added) == 1 and added[0]["image/png"] != picture["image/png"]
    assert run("r", "1")["result"] == [{"text/plain": "[1] 1", "isMainResult": True}]
    assert len(run("r", "hist(x); plot(x)")["result"]) == 2
    assert stderr(run("r", "warning('careful'); invisible(1)")) == "Warning: careful\n"
    answer = run("r", "f <- function(x) g(x)\ng <- function(x) stop('deep')\nf(1)")
    assert "Calls: f(1) -> g(x)" in stderr(answer)
    assert run("r", "quit(status = 3)")["executionError"] == "Exit: exit code 3"
    assert run("r", "length(x)")["result"][0]["text/plain"] == "[1] 3"


def test_bash_keeps_its_directory_and_functions(run):
    run("bash", "cd /tmp; greet() { echo \"hello $1\"; }")
    assert stdout(run("bash", "pwd; greet you")) == "/tmp\nhello you\n"
    answer = run("bash", "sleep 30 & disown; echo started")
    assert stdout(answer) == "started\n"


def test_two_sessions_run_beside_each_other(new_session):
    left, right = Runner(new_session()), Runner(new_session())
    for language in ("javascript", "r"):
        keep, _ = SAYS["keep"][language]
        left(language, keep)
        assert right(language, SAYS["keep"][language][1])["executionError"] != ""

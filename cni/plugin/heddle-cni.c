/*
 * heddle-cni: the program that kubelet's runtime executes for each pod. It hands the call to the node's agent and prints
 * the answer. CNI specification 1.1; the agent's side is cni/agent/cni.
 */
#include "check.h"
#include "deleted.h"
#include "loopback.h"

enum { STDIN_BYTES_MAX = 1 << 20, VARIABLES_BYTES_MAX = 64 << 10, SOCKET_PATH_BYTES_MAX = 108 };
/* The runtime's own patience is two minutes (kubelet's runtimeRequestTimeout). */
enum { STDIN_MS = 10000, VERSION_STDIN_MS = 1000, AGENT_MS = 90000 };

static char stdin_bytes[STDIN_BYTES_MAX + 1];
static char variables_bytes[VARIABLES_BYTES_MAX];
static char answer_bytes[ANSWER_BYTES_MAX];

static __attribute__((noreturn)) void finish(struct text out, int code)
{
	/* Whoever reads may take as long as it likes. */
	write_whole(1, out.bytes, out.length, now_ms() + AGENT_MS);
	sys_exit(code);
}

static __attribute__((noreturn)) void fail(const struct call *call, int code, const char *message, const char *details)
{
	static char bytes[2048];
	struct text out = { bytes, 0, sizeof(bytes) };
	put(&out, "{\"cniVersion\":\"");
	put(&out, call->version[0] ? call->version : NEWEST_VERSION);
	put(&out, "\",\"code\":");
	put_number(&out, (unsigned long)code);
	put(&out, ",\"msg\":\"");
	put_quoted(&out, message);
	put(&out, "\",\"details\":\"");
	put_quoted(&out, details);
	put(&out, "\"}\n");
	finish(out, 1);
}

/* Standard input to its end. Returns its bytes, -1: failed or not in time, STDIN_BYTES_MAX + 1: too many. */
static isize read_stdin(long deadline_ms)
{
	usize length = 0;
	while (length <= STDIN_BYTES_MAX) {
		if (!wait_ready(0, POLLIN, deadline_ms)) return -1;
		isize count = sys_read(0, stdin_bytes + length, sizeof(stdin_bytes) - length);
		if (count == -EINTR || count == -EAGAIN) continue;
		if (count < 0) return -1;
		if (count == 0) break;
		length += (usize)count;
	}
	return (isize)length;
}

static __attribute__((noreturn)) void answer_version(struct call *call)
{
	static char bytes[256];
	struct text out = { bytes, 0, sizeof(bytes) };
	isize length = read_stdin(now_ms() + VERSION_STDIN_MS);
	/* Runtimes older than the word `cniVersion` send nothing. */
	int silent = length <= 0 || length > STDIN_BYTES_MAX;
	if (!silent && !read_netconf(stdin_bytes, (usize)length, &call->conf))
		fail(call, CODE_DECODE, "standard input is no JSON object", "VERSION takes {\"cniVersion\": \"1.1.0\"}");
	struct piece asked = call->conf.version;
	put(&out, "{\"cniVersion\":");
	if (asked.length > 0 && is_text(asked) && asked.length <= VERSION_BYTES_MAX) put_bytes(&out, asked.start, asked.length);
	else put(&out, "\"" NEWEST_VERSION "\"");
	put(&out, ",\"supportedVersions\":" SUPPORTED_VERSIONS "}\n");
	finish(out, 0);
}

/* CNI_* variables with a NUL behind each; 0: too many bytes. */
static int put_variables(struct text *out, char **environment)
{
	for (; *environment; environment++) {
		const char *entry = *environment;
		if (entry[0] != 'C' || entry[1] != 'N' || entry[2] != 'I' || entry[3] != '_') continue;
		usize bytes = length_of(entry) + 1;
		if (out->length + bytes >= out->limit) return 0;
		put_bytes(out, entry, bytes);
	}
	return 1;
}

static void put_field(struct text *out, const char *key, struct piece value)
{
	if (value.length == 0) return;
	put(out, out->length > 1 ? ",\"" : "\"");
	put(out, key);
	put(out, "\":");
	put_bytes(out, value.start, value.length);
}

/* The request without what a DEL can do without. */
static int queue_deletion(const struct call *call, const char *socket, struct text variables)
{
	static char bytes[VARIABLES_BYTES_MAX + 4096], conf_bytes[3072];
	struct text frame = { bytes, 0, sizeof(bytes) }, conf = { conf_bytes, 0, sizeof(conf_bytes) };
	struct piece mode = call->conf.mode;
	if (mode.length > NAME_BYTES_MAX) mode.length = 0;
	put(&conf, "{");
	put_field(&conf, "cniVersion", call->conf.version);
	put_field(&conf, "name", call->conf.name);
	put_field(&conf, "mode", mode);
	put(&conf, "}");
	put_frame_head(&frame, variables.length, conf.length);
	put_bytes(&frame, variables.bytes, variables.length);
	put_bytes(&frame, conf.bytes, conf.length);
	return write_deletion(socket, call->container, call->ifname, frame);
}

static __attribute__((noreturn)) void without_agent(const struct call *call, const char *socket, struct text variables, enum outcome outcome)
{
	const char *message = outcome == NO_AGENT ? "Heddle's agent on this node is not running"
		: outcome == TOO_LATE ? "Heddle's agent on this node did not answer in time"
		: "Heddle's agent on this node ended while it was asked";
	if (call->command == DEL) {
		struct text nothing = { answer_bytes, 0, 1 };
		if (queue_deletion(call, socket, variables)) finish(nothing, 0);
		fail(call, CODE_LATER, message, "the deletion could not be written to the folder deleted beside the agent's socket, or 4096 wait there");
	}
	fail(call, call->command == STATUS ? CODE_UNAVAILABLE : CODE_LATER, message, socket);
}

/* A namespace that is gone has no lo to take down, and one that is there needs it no more. */
static __attribute__((noreturn)) void answer_loopback(const struct call *call)
{
	static char bytes[2048];
	struct text out = { bytes, 0, sizeof(bytes) };
	if (call->command == ADD || call->command == CHECK) {
		const char *problem = loopback_up(call->netns, call->command == CHECK);
		if (problem) fail(call, CODE_IO, problem, call->netns);
		if (call->command == ADD) put_loopback(&out, call);
	}
	finish(out, 0);
}

static const char *variable(char **environment, const char *name)
{
	for (; *environment; environment++) {
		const char *value = value_of(*environment, name);
		if (value) return value;
	}
	return 0;
}

static void read_environment(struct call *call, char **environment)
{
	call->command_name = variable(environment, "CNI_COMMAND");
	call->command = call->command_name ? command_of(call->command_name) : UNKNOWN;
	call->container = variable(environment, "CNI_CONTAINERID");
	call->netns = variable(environment, "CNI_NETNS");
	call->ifname = variable(environment, "CNI_IFNAME");
}

/* Called with the stack as the kernel leaves it: argc, argv, 0, environment, 0. */
__attribute__((noreturn, used)) void begin(char **stack)
{
	static struct call call;
	struct failure why = { 0, "", "" };
	char socket[SOCKET_PATH_BYTES_MAX] = "/run/heddle/cni.sock";
	char **environment = stack + 1 + (usize)stack[0] + 1;
	ignore_sigpipe();
	read_environment(&call, environment);
	if (call.command == VERSION) answer_version(&call);
	if (!check_environment(&call, &why)) fail(&call, why.code, why.message, why.details);
	isize length = read_stdin(now_ms() + STDIN_MS);
	if (length < 0) fail(&call, CODE_IO, "the network configuration could not be read from standard input", "it must end within 10 s");
	if (length > STDIN_BYTES_MAX) fail(&call, CODE_CONFIG, "the network configuration is larger than 1048576 bytes", "");
	if (!check_netconf(&call, stdin_bytes, (usize)length, &why)) fail(&call, why.code, why.message, why.details);
	if (is_loopback(&call)) answer_loopback(&call);
	if (call.conf.socket.length > 0 && (!decode_string(call.conf.socket, socket, sizeof(socket)) || socket[0] != '/'))
		fail(&call, CODE_CONFIG, "agentSocket must be an absolute path of 107 bytes at most", "key agentSocket of the network configuration");

	struct text variables = { variables_bytes, 0, VARIABLES_BYTES_MAX };
	if (!put_variables(&variables, environment))
		fail(&call, CODE_ENVIRONMENT, "the CNI_* variables are larger than 65536 bytes", "CNI_ARGS and CNI_PATH are the long ones");
	struct text answer = { answer_bytes, 0, sizeof(answer_bytes) };
	int code = 1;
	enum outcome outcome = ask_agent(socket, (struct piece){ variables.bytes, variables.length },
					 (struct piece){ stdin_bytes, (usize)length }, now_ms() + AGENT_MS, &answer, &code);
	if (outcome != ANSWERED) without_agent(&call, socket, variables, outcome);
	finish(answer, code == 0 ? 0 : 1);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tb begin\n");
#endif

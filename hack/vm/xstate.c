/* User-Mode Linux before 6.13 keeps the floating-point state of its processes in a buffer of fixed size and writes it back
 * with PTRACE_SETREGSET. On a host whose CPU has AMX the state is longer, and the host rejects a part of it (EFAULT): the
 * guest crashes with its first process. run.sh preloads this function, which completes a state that is too short from
 * that of the process. The added part, the tiles of AMX, is not used by any process of the guest. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef long (*ptrace_function)(int, ...);

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_function host;
	static char whole[64 * 1024];
	va_list rest;

	va_start(rest, request);
	pid_t pid = va_arg(rest, pid_t);
	void *address = va_arg(rest, void *);
	void *data = va_arg(rest, void *);
	va_end(rest);

	if (!host)
		host = (ptrace_function)dlsym(RTLD_NEXT, "ptrace");
	long result = host(request, pid, address, data);
	if (result != -1 || errno != EFAULT || request != PTRACE_SETREGSET || (unsigned long)address != NT_X86_XSTATE)
		return result;

	struct iovec *given = data, state = { whole, sizeof whole };
	if (host(PTRACE_GETREGSET, pid, address, &state) == -1)
		return -1;
	memcpy(whole, given->iov_base, given->iov_len < state.iov_len ? given->iov_len : state.iov_len);
	return host(PTRACE_SETREGSET, pid, address, &state);
}

using System.Runtime.InteropServices;

namespace SafePool.TestKit;

internal static class Signals
{
    public const int Interrupt = 2;
    public const int Quit = 3;
    public const int Kill = 9;
    public const int Terminate = 15;

    /// <summary>Sends a signal; a process that is gone already is no fault.</summary>
    public static void Send(int processId, int signal)
    {
        // kill(2) takes 0 and negative numbers for whole groups of processes.
        ArgumentOutOfRangeException.ThrowIfLessThan(processId, 2);

        _ = NativeKill(processId, signal);
    }

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int NativeKill(int processId, int signal);
}

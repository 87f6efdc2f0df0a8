using System.Diagnostics;

namespace SafePool.TestKit;

/// <summary>What a server says from one start on. The file itself keeps what was said before.</summary>
internal sealed class ServerLog
{
    private readonly string _data;
    private readonly string _file;
    private readonly long _start;

    public ServerLog(string data)
    {
        _data = data;
        _file = Path.Combine(data, "server.log");
        _start = File.Exists(_file) ? new FileInfo(_file).Length : 0;
    }

    /// <summary>Gets the lines since this start.</summary>
    public string Text
    {
        get
        {
            if (!File.Exists(_file))
            {
                return "(no log was written)";
            }

            using var file = new FileStream(_file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            file.Seek(_start, SeekOrigin.Begin);
            using var reader = new StreamReader(file);
            return reader.ReadToEnd();
        }
    }

    /// <summary>Gets whether the port was taken, or children of the killed predecessor are still dying: worth another attempt.</summary>
    public bool TellsOfAnotherServer
        => Text is var text
            && (text.Contains("Address already in use", StringComparison.Ordinal) || text.Contains("is still in use", StringComparison.Ordinal));

    /// <summary>Describes a server process that writes here and to nothing of this process's.</summary>
    /// <param name="arguments">Of the server.</param>
    /// <param name="server">Its program.</param>
    /// <param name="isolated">In a namespace with process ids of its own: then what is started is the parent of the server.</param>
    public ProcessStartInfo Into(IEnumerable<string> arguments, string server, bool isolated = false)
    {
        // The shell replaces itself, so the process started is the postmaster.
        const string Script = """exec "$0" "$@" </dev/null >>server.log 2>&1""";
        string[] shell = ["/bin/sh", "-c", Script, server, .. arguments];
        if (!isolated)
        {
            return ServerAccount.Current.Command(_data, shell[0], shell[1..]);
        }

        // The namespace takes root, the server refuses it: so it changes its user within.
        var user = ServerAccount.Current.UserName ?? throw new InvalidOperationException("Process ids of its own take root.");
        string[] within = ["--pid", "--fork", "setpriv", "--reuid", user, "--regid", user, "--init-groups", .. shell];
        return new ServerAccount(null).Command(_data, "unshare", within);
    }
}

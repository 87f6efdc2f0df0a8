using System.Diagnostics;

namespace SafePool.TestKit;

/// <summary>The user that servers run as: PostgreSQL refuses to run as root.</summary>
/// <param name="UserName">Null: whoever runs this process.</param>
internal sealed record ServerAccount(string? UserName)
{
    public static ServerAccount Current { get; } = new(Environment.IsPrivilegedProcess ? UserBesideRoot() : null);

    /// <summary>Describes a program to run as this user, with an environment that owes nothing to this process.</summary>
    public ProcessStartInfo Command(string workingDirectory, string file, params IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(file, arguments) { WorkingDirectory = workingDirectory };
        start.Environment.Clear();
        start.Environment["LC_ALL"] = "C";
        start.Environment["PATH"] = "/usr/bin:/bin";
        if (UserName is not null)
        {
            start.UserName = UserName;
        }

        return start;
    }

    /// <summary>Gives a directory to this user.</summary>
    public async Task TakeOverAsync(string directory, CancellationToken cancellationToken)
    {
        if (UserName is not null)
        {
            await Commands.RunAsync(new ProcessStartInfo("chown", [UserName, directory]), cancellationToken);
        }
    }

    private static string UserBesideRoot()
        => File.ReadLines("/etc/passwd").Any(line => line.StartsWith("postgres:", StringComparison.Ordinal)) ? "postgres" : "nobody";
}

using System.Diagnostics;
using System.Text.RegularExpressions;
using Xunit;

namespace SafePool.PackageTests;

/// <summary>A web service in a process of its own.</summary>
internal sealed partial class WebProgram : IAsyncDisposable
{
    private readonly Process _process;

    private WebProgram(Process process, Uri address)
    {
        _process = process;
        Address = address;
    }

    public Uri Address { get; }

    /// <summary>Starts it, and returns once it has said where it listens.</summary>
    public static async Task<WebProgram> StartAsync(ProcessStartInfo start)
    {
        start.RedirectStandardOutput = true;
        var process = Process.Start(start)!;
        var said = new List<string>();
        while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
        {
            said.Add(line);
            if (Listening().Match(line) is { Success: true } match)
            {
                // Or it would wait for somebody to read on.
                _ = process.StandardOutput.ReadToEndAsync();
                return new WebProgram(process, new Uri(match.Groups["address"].Value));
            }
        }

        process.Dispose();
        throw new InvalidOperationException($"It ended before it listened:{Environment.NewLine}{string.Join(Environment.NewLine, said)}");
    }

    /// <summary>Asks it to end, as a supervisor does.</summary>
    /// <returns>Its exit code.</returns>
    public async Task<int> StopAsync()
    {
        using var kill = Process.Start("kill", ["-TERM", $"{_process.Id}"]);
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    [GeneratedRegex(@"Now listening on: (?<address>http://\S+)")]
    private static partial Regex Listening();
}

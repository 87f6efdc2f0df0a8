using System.Diagnostics;
using Xunit;

namespace SafePool.PackageTests;

/// <summary>Runs a program to its end, within the time of the test.</summary>
internal static class Shell
{
    /// <returns>What it said.</returns>
    /// <exception cref="InvalidOperationException">It failed; with all that it said.</exception>
    public static async Task<string> RunAsync(ProcessStartInfo start)
    {
        var cancellation = TestContext.Current.CancellationToken;
        start.RedirectStandardOutput = start.RedirectStandardError = true;
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(cancellation);
        var errors = process.StandardError.ReadToEndAsync(cancellation);
        try
        {
            await process.WaitForExitAsync(cancellation);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

        var said = await output + await errors;
        return process.ExitCode == 0
            ? said
            : throw new InvalidOperationException($"'{start.FileName} {string.Join(' ', start.ArgumentList)}' ended with {process.ExitCode}:{Environment.NewLine}{said}");
    }
}

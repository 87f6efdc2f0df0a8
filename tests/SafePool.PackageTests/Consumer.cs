using System.Diagnostics;

namespace SafePool.PackageTests;

/// <summary>A project of a user's own.</summary>
/// <param name="directory">Where it is.</param>
/// <param name="cache">A package cache in which nothing of ours was before.</param>
/// <param name="version">The packages' version.</param>
internal sealed class Consumer(string directory, string cache, string version)
{
    private readonly Dictionary<string, string> _environment = new() { ["NUGET_PACKAGES"] = cache, ["SafePoolVersion"] = version };

    private string Output => Path.Combine(directory, "published");

    /// <summary>Adds a file.</summary>
    public Task WriteAsync(string file, string text) => File.WriteAllTextAsync(Path.Combine(directory, file), text);

    /// <summary>Restores, builds, and trims if the project says so.</summary>
    /// <returns>What was said.</returns>
    public Task<string> PublishAsync() => Dotnet.RunAsync(directory, _environment, "publish", "-c", "Release", "--use-current-runtime", "-o", Output);

    /// <summary>Lets the fix of a rule put right what the rule refuses, as an editor would.</summary>
    public Task FixAsync(string rule) => Dotnet.RunAsync(directory, _environment, "format", "analyzers", "--diagnostics", rule, "--severity", "error");

    /// <summary>Reads a file.</summary>
    public Task<string> ReadAsync(string file) => File.ReadAllTextAsync(Path.Combine(directory, file));

    /// <summary>The published program, not started yet.</summary>
    public ProcessStartInfo Program(params string[] arguments)
        => Dotnet.Describe(Path.Combine(Output, Path.GetFileName(directory)), Output, new Dictionary<string, string>(), arguments);

    /// <summary>The size of a published file, in bytes.</summary>
    public long SizeOf(string file) => new FileInfo(Path.Combine(Output, file)).Length;
}

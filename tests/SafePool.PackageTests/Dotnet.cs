using System.Diagnostics;

namespace SafePool.PackageTests;

/// <summary>Runs programs as a person would in a shell of his own: none of what the test run has put into the environment for its own builds.</summary>
internal static class Dotnet
{
    private static readonly string[] _ofTheTestRun = ["MSBUILD", "VSTEST", "DOTNET_HOST_PATH", "DOTNET_CLI_TELEMETRY_SESSIONID", "TESTINGPLATFORM"];

    /// <param name="directory">Where.</param>
    /// <param name="environment">Variables to add.</param>
    /// <param name="arguments">Of <c>dotnet</c>.</param>
    /// <returns>What it said.</returns>
    /// <exception cref="InvalidOperationException">It failed; with all that it said.</exception>
    public static Task<string> RunAsync(string directory, IReadOnlyDictionary<string, string> environment, params string[] arguments)
        => Shell.RunAsync(Describe("dotnet", directory, environment, arguments));

    /// <summary>A program of the given directory, not started yet.</summary>
    public static ProcessStartInfo Describe(
        string file, string directory, IReadOnlyDictionary<string, string> environment, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(file, arguments) { WorkingDirectory = directory };
        foreach (var name in start.Environment.Keys.Where(name => _ofTheTestRun.Any(name.StartsWith)).ToArray())
        {
            start.Environment.Remove(name);
        }

        // No process of a build is to stay behind.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        start.Environment["UseSharedCompilation"] = "false";
        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        start.Environment["DOTNET_CLI_UI_LANGUAGE"] = "en";
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        return start;
    }
}

using System.Globalization;
using System.Runtime.CompilerServices;

namespace SafePool.Tests.Verdicts;

/// <summary>Reads in the source where a script rents, independently of what the pool says.</summary>
internal static class Sites
{
    /// <returns>As messages write it: <c>OrderService.cs:57 (LoadAsync)</c>.</returns>
    public static string Of(string script)
    {
        var lines = File.ReadAllLines(Path.Combine(Folder(), "OrderService.cs"));
        var declaration = Array.FindIndex(lines, line => line.Contains($"async Task {script}(", StringComparison.Ordinal));
        var rent = Array.FindIndex(lines, declaration, line => line.Contains("await pool.", StringComparison.Ordinal));
        return string.Create(CultureInfo.InvariantCulture, $"OrderService.cs:{rent + 1} ({script})");
    }

    public static string Folder([CallerFilePath] string thisFile = "") => Path.GetDirectoryName(thisFile)!;
}

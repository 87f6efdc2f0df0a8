using System.Runtime.CompilerServices;

namespace SafePool.Analyzers.Tests;

/// <summary>Files of the repository.</summary>
internal static class Source
{
    public static string Path(string relative, [CallerFilePath] string here = "")
        => System.IO.Path.GetFullPath(System.IO.Path.Combine(System.IO.Path.GetDirectoryName(here)!, "../..", relative));
}

using Microsoft.CodeAnalysis.Diagnostics;

namespace SafePool.Analyzers.Tests;

/// <summary>Every analyzer that the package has.</summary>
internal static class AllRules
{
    public static DiagnosticAnalyzer[] Analyzers { get; } =
    [
        .. typeof(PoolAnalyzer).Assembly.GetTypes()
            .Where(type => type.IsSubclassOf(typeof(PoolAnalyzer)))
            .Select(type => (DiagnosticAnalyzer)Activator.CreateInstance(type)!)
            .OrderBy(analyzer => analyzer.SupportedDiagnostics[0].Id, StringComparer.Ordinal),
    ];

    public static string[] Ids { get; } = [.. Analyzers.Select(analyzer => analyzer.SupportedDiagnostics[0].Id)];

    public static DiagnosticAnalyzer Of(string id) => Analyzers[Array.IndexOf(Ids, id)];
}

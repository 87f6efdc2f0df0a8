using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;

namespace SafePool.Analyzers.Tests;

/// <summary>Compiles code as a user's project would, and runs analyzers over it.</summary>
internal static class Snippets
{
    private const string Usings = """
        global using System;
        global using System.Collections.Generic;
        global using System.Linq;
        global using System.Threading;
        global using System.Threading.Tasks;
        global using Npgsql;
        global using SafePool;

        """;

    private static readonly ImmutableArray<MetadataReference> _references =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(file => !Path.GetFileName(file).StartsWith("SafePool.Analyzers", StringComparison.Ordinal) && !Path.GetFileName(file).StartsWith("xunit", StringComparison.Ordinal))
            .Select(file => MetadataReference.CreateFromFile(file)),
    ];

    /// <summary>Compiles; what does not compile is a mistake in a test.</summary>
    public static CSharpCompilation Compile(string code, OutputKind kind = OutputKind.DynamicallyLinkedLibrary, bool withSafePool = true)
    {
        var compilation = CSharpCompilation.Create(
            "Snippet",
            [CSharpSyntaxTree.ParseText(withSafePool ? Usings : ""), CSharpSyntaxTree.ParseText(code, path: "Snippet.cs")],
            _references.Where(reference => withSafePool || !Path.GetFileName(reference.Display!).StartsWith("SafePool", StringComparison.Ordinal)),
            new CSharpCompilationOptions(kind, nullableContextOptions: NullableContextOptions.Enable, allowUnsafe: true));
        var errors = compilation.GetDiagnostics().Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error).ToArray();
        return errors.Length == 0 ? compilation : throw new InvalidOperationException($"The snippet does not compile: {string.Join('\n', errors.AsEnumerable())}\n{code}");
    }

    /// <summary>What the analyzers say, in order of place. An analyzer that throws fails the test.</summary>
    public static Task<ImmutableArray<Diagnostic>> AnalyzeAsync(Compilation compilation, params DiagnosticAnalyzer[] analyzers)
        => AnalyzeAsync(compilation, new AnalyzerOptions([]), analyzers);

    /// <summary>The same with options, as of an .editorconfig.</summary>
    public static async Task<ImmutableArray<Diagnostic>> AnalyzeAsync(Compilation compilation, AnalyzerOptions options, params DiagnosticAnalyzer[] analyzers)
    {
        var with = compilation.WithAnalyzers(
            [.. analyzers],
            new CompilationWithAnalyzersOptions(
                options,
                (error, analyzer, _) => throw new InvalidOperationException($"{analyzer} threw: {error}", error),
                concurrentAnalysis: true,
                logAnalyzerExecutionTime: false));
        var said = await with.GetAnalyzerDiagnosticsAsync();
        return [.. said.OrderBy(diagnostic => diagnostic.Location.SourceSpan.Start)];
    }
}

using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0005: an await of something slow that is not the database, with a lease in hand.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class HeldAcrossAnalyzer() : PoolAnalyzer(Rules.HeldAcross)
{
    /// <summary>More of them, in .editorconfig: types, or types with a method, separated by commas.</summary>
    private const string Option = "safepool.slow_calls";

    private static readonly ImmutableHashSet<string> _slow = ImmutableHashSet.Create(
        "System.Net.Http.HttpClient",
        "System.Net.Http.Json.HttpClientJsonExtensions",
        "System.Threading.Tasks.Task.Delay",
        "System.Threading.PeriodicTimer",
        "System.Threading.SemaphoreSlim",
        "System.Threading.Channels.ChannelReader",
        "System.Threading.Channels.ChannelWriter");

    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
        => context.OnRent(
            (operation, rent) =>
            {
                if (!types.IsRent(rent) || HeldRegion.Of(rent) is not { } region)
                {
                    return;
                }

                var options = operation.Options.AnalyzerConfigOptionsProvider.GetOptions(rent.Syntax.SyntaxTree);
                var slow = options.TryGetValue(Option, out var more)
                    ? _slow.Union(more.Split(',').Select(name => name.Trim()).Where(name => name.Length > 0))
                    : _slow;
                foreach (var call in region.Operations().OfType<IAwaitOperation>().Select(awaited => Awaited(awaited.Operation)).OfType<IInvocationOperation>())
                {
                    var type = TypeName(call.TargetMethod.ContainingType);
                    if (slow.Contains(type) || slow.Contains($"{type}.{call.TargetMethod.Name}"))
                    {
                        operation.ReportDiagnostic(Diagnostic.Create(
                            Rules.HeldAcross, call.Syntax.GetLocation(), $"{call.TargetMethod.ContainingType.Name}.{call.TargetMethod.Name}"));
                    }
                }
            });

    private static IOperation Awaited(IOperation operation)
        => operation is IInvocationOperation { TargetMethod.Name: "ConfigureAwait" or "AsTask" or "WaitAsync", Instance: IInvocationOperation inner } call
            && TypeName(call.TargetMethod.ContainingType).StartsWith("System.Threading.Tasks", StringComparison.Ordinal)
                ? inner
                : operation;

    private static string TypeName(INamedTypeSymbol type) => $"{type.ContainingNamespace}.{type.Name}";
}

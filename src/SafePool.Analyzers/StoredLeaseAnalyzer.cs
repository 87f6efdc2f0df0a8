using System.Collections.Concurrent;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0003: a field of type Lease, or one that a connection of the pool is put into, which its type never disposes.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class StoredLeaseAnalyzer() : PoolAnalyzer(Rules.Stored)
{
    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
        => context.RegisterSymbolStartAction(
            start =>
            {
                var type = (INamedTypeSymbol)start.Symbol;
                if (!type.GetMembers().OfType<IFieldSymbol>().Any(field => field.Type.Name is "Lease" or "NpgsqlConnection"))
                {
                    // Of an automatic property the field is there as well.
                    return;
                }

                var kept = new ConcurrentDictionary<ISymbol, bool>(SymbolEqualityComparer.Default);
                var disposed = new ConcurrentDictionary<ISymbol, bool>(SymbolEqualityComparer.Default);
                start.RegisterOperationAction(
                    operation =>
                    {
                        var rent = (IInvocationOperation)operation.Operation;
                        if (types.IsRent(rent) && Destination.Of(rent) is { Fate: Fate.Escapes, At: ISimpleAssignmentOperation { Target: IMemberReferenceOperation { Instance: null or IInstanceReferenceOperation } target } })
                        {
                            kept.TryAdd(target.Member, true);
                        }
                    },
                    OperationKind.Invocation);
                start.RegisterOperationAction(
                    operation =>
                    {
                        // Given to somebody else, it may be disposed there.
                        var member = (IMemberReferenceOperation)operation.Operation;
                        var isWritten = member.Parent is IAssignmentOperation assignment && assignment.Target == member;
                        if (!isWritten && Destination.Of(member).Fate is Fate.Disposed or Fate.Using or Fate.Escapes or Fate.Kept)
                        {
                            disposed.TryAdd(member.Member, true);
                        }
                    },
                    OperationKind.FieldReference,
                    OperationKind.PropertyReference);
                start.RegisterSymbolEndAction(end =>
                {
                    foreach (var member in kept.Keys.Where(member => !disposed.ContainsKey(member)))
                    {
                        end.ReportDiagnostic(Diagnostic.Create(
                            Rules.Stored,
                            member.Locations[0],
                            member.Name,
                            IsDisposable(type) ? $"'{type.Name}' does not dispose it" : $"'{type.Name}' cannot be disposed"));
                    }
                });
            },
            SymbolKind.NamedType);

    private static bool IsDisposable(INamedTypeSymbol type) => type.AllInterfaces.Any(one => one.Name is "IDisposable" or "IAsyncDisposable");
}

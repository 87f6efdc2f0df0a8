using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0002: a lease, or what was made from it, that outlives its 'using', or is used after its dispose.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class UsedAfterReturnAnalyzer() : PoolAnalyzer(Rules.UsedAfterReturn)
{
    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
        => context.OnRent(
            (operation, rent) =>
            {
                if (types.IsRent(rent) && HeldRegion.Of(rent) is { Local: { } local } region)
                {
                    var made = new MadeFrom(local, region);
                    var found = region.IsUsing ? Outliving(region, made) : AfterDispose(region, made);
                    var how = region.IsUsing ? "outlives" : "is used after";
                    foreach (var (use, why) in found)
                    {
                        operation.ReportDiagnostic(Diagnostic.Create(Rules.UsedAfterReturn, use.Syntax.GetLocation(), $"'{use.Syntax}' {how} the lease '{local.Name}'", why));
                    }
                }
            });

    private static IEnumerable<(IOperation Use, string Why)> Outliving(HeldRegion region, MadeFrom made)
    {
        foreach (var operation in region.Operations())
        {
            switch (operation)
            {
                case IReturnOperation { Kind: OperationKind.Return, ReturnedValue: { } value } when made.IsBoundTo(value):
                    yield return (Unwrap(value), "it is returned from a method that disposes the lease");
                    break;
                case IReturnOperation { Kind: OperationKind.YieldReturn, ReturnedValue: { } value } when made.IsBoundTo(value):
                    yield return (Unwrap(value), "it is yielded by an iterator that disposes the lease");
                    break;
                case ISimpleAssignmentOperation { Target: IMemberReferenceOperation { Instance: null or IInstanceReferenceOperation } } store when made.IsBoundTo(store.Value):
                    yield return (Unwrap(store.Value), "it is stored where it stays");
                    break;
                case IDelegateCreationOperation { Target: IAnonymousFunctionOperation function } lambda when OutlivesWhy(lambda) is { } why:
                    if (function.Body.Descendants().FirstOrDefault(made.IsReference) is { } captured)
                    {
                        yield return (captured, why);
                    }

                    break;
            }
        }
    }

    /// <summary>Only what comes after a dispose in the very same block: on other paths it may not have happened.</summary>
    private static IEnumerable<(IOperation Use, string Why)> AfterDispose(HeldRegion region, MadeFrom made)
    {
        foreach (var reference in region.Everything().Where(made.IsLease))
        {
            if (Destination.Of(reference) is not { Fate: Fate.Disposed } dispose || Statement(dispose.At) is not { Parent: { } parent } statement || Sequence.Of(parent) is not { } statements)
            {
                continue;
            }

            foreach (var later in statements.After(statement))
            {
                if (later.DescendantsAndSelf().OfType<ISimpleAssignmentOperation>().Any(assignment => made.IsLease(assignment.Target)))
                {
                    break;
                }

                var use = later.DescendantsAndSelf().FirstOrDefault(inner => made.IsLease(inner) && Destination.Of(inner) is { Fate: Fate.Used, Member.Length: > 0, Member: not ("Id" or "Equals" or "State" or "FullState") });
                if (use is not null)
                {
                    yield return (use, "it was disposed before");
                    break;
                }
            }
        }
    }

    private static IOperation? Statement(IOperation operation)
    {
        while (operation is not (null or IExpressionStatementOperation))
        {
            operation = operation.Parent!;
        }

        return operation;
    }

    private static IOperation Unwrap(IOperation value)
    {
        while (value is IConversionOperation { IsImplicit: true } conversion)
        {
            value = conversion.Operand;
        }

        return value;
    }

    /// <summary>Why a function runs, or may run, when the lease has gone. Null where it runs at once, or nothing is known.</summary>
    private static string? OutlivesWhy(IDelegateCreationOperation lambda)
    {
        var destination = Destination.Of(lambda);
        switch (destination.At)
        {
            case IReturnOperation { Kind: OperationKind.Return }:
                return "the function that uses it is returned";
            case ISimpleAssignmentOperation { Target: IMemberReferenceOperation } or IEventAssignmentOperation:
                return "the function that uses it is stored";
            case IArgumentOperation { Parent: IInvocationOperation { TargetMethod: { Name: "Run" or "StartNew" or "QueueUserWorkItem" or "UnsafeQueueUserWorkItem" or "ContinueWith" } } call }
                when Destination.Of(call).Fate == Fate.Discarded && !IsAwaited(call):
                return "the task that uses it is not awaited";
            default:
                return null;
        }
    }

    private static bool IsAwaited(IOperation operation)
    {
        for (var parent = operation.Parent; parent is not (null or IExpressionStatementOperation); parent = parent.Parent)
        {
            if (parent is IAwaitOperation)
            {
                return true;
            }
        }

        return false;
    }
}
